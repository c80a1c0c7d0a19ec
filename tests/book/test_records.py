"""The book's records: each is whole, and found under the key that its experiment gives it today."""

import json

import pytest

from fglib import lab
from fglib.lab.grid import load_experiment
from fglib.lab.places import book, experiment_path

RESULTS = book() / "results"
EXPERIMENTS = sorted({path.parent.parent.name for path in RESULTS.glob("*/*/run.json")})


def test_there_are_records():
    assert len(EXPERIMENTS) > 10


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_record_is_that_of_a_run_which_its_experiment_names(name):
    experiment = load_experiment(experiment_path(name))
    for path in sorted((RESULTS / name).glob("*/run.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        (plan,) = lab.plans(experiment, record["preset"], [record["seed"]], [record["variant"]])
        assert plan.name == path.parent.name and plan.config.key() == record["key"]
        assert plan.load().metrics == record["metrics"]
