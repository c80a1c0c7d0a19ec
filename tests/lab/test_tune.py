"""Choice of hyper-parameters: the same budget for every method, no hidden label, no test image, the best trial."""

import json

import pytest
from tiny_grid import YAML

from fglib import lab
from fglib.data.images import DataSet
from fglib.errors import ConfigError
from fglib.lab.grid import load_experiment
from fglib.lab.places import experiment_files, experiment_path
from fglib.lab.records import write_record
from fglib.lab.tune import choices_path, score, trials, write_choice

TUNE = """
tune:
  preset: cpu
  seed: 0
  validation: 0.25
  set: {train: {epochs: 1}}
  trials:
    base: {train.lr: [0.001, 0.05], train.weight_decay: [0.0, 0.1]}
    fine: {train.lr: [0.001, 0.01, 0.05, 0.1]}
    indi: {train.weight_decay: [0.0, 0.001], method.options.instance_rate: [1.0, 10.0]}
"""
WITH_INDI = YAML.replace("presets:", "  indi: {method: {name: indi, options: {instance_start: zero}}}\npresets:")


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("FGLIB_CHECKPOINTS", str(tmp_path / "checkpoints"))

    def make(text=TUNE):
        (tmp_path / "tiny.yml").write_text(WITH_INDI + text)
        return load_experiment(tmp_path / "tiny.yml")

    return make


def test_trials_are_all_combinations_on_the_validation_part(experiment):
    found = trials(experiment())
    assert [t.variant for t in found] == ["base"] * 4 + ["fine"] * 4 + ["indi"] * 4
    assert [tuple(t.values.values()) for t in found[:4]] == [(0.001, 0.0), (0.001, 0.1), (0.05, 0.0), (0.05, 0.1)]
    for trial in found:
        config = trial.plan.config
        assert config.train.epochs == 1 and config.data.validation == 0.25 and trial.plan.tweak
        assert config.train.lr == trial.values.get("train.lr", 0.05)
    # options that a trial does not name stay
    assert found[-1].plan.config.method.options == {"instance_start": "zero", "instance_rate": 10.0}
    assert {t.variant for t in trials(experiment(), ["fine"])} == {"fine"}


def test_coarse_trained_methods_are_measured_by_coarse_labels_alone(experiment, monkeypatch):
    found = trials(experiment())
    seen = []
    real = DataSet.validation
    monkeypatch.setattr(DataSet, "validation", lambda self, level, *how: seen.append(level) or real(self, level, *how))
    for trial in (found[0], found[4], found[8]):
        assert list(lab.train_plans([trial.plan], device="cpu"))
    assert set(seen) == {"big"}  # the part is drawn by coarse class, for all alike
    base, fine, indi = (found[i].plan.load() for i in (0, 4, 8))
    assert not any(name.startswith("fine") for run in (base, indi) for name in run.metrics)
    assert [score(run)[0] for run in (base, fine, indi)] == ["coarse_top1", "fine_r1", "coarse_r1"]


def test_the_best_trial_is_chosen_and_all_are_recorded(experiment):
    one = experiment()
    found = trials(one, ["base"])
    for trial, value in zip(found, (40.0, 70.0, 70.0, 10.0)):
        write_record(trial.plan, {"coarse_top1": value, "coarse_r1": 100 - value}, [], {}, {})
    assert write_choice(one, found) == {"base": {"train.lr": 0.001, "train.weight_decay": 0.1}}  # the first of equals
    record = json.loads(choices_path(one).read_text())["base"]
    assert [row["coarse_top1"] for row in record["trials"]] == [40.0, 70.0, 70.0, 10.0]
    assert record["by"] == "coarse_top1" and record["validation"] == 0.25 and record["seed"] == 0
    # another variant joins the record
    others = trials(one, ["indi"])
    for trial in others:
        write_record(trial.plan, {"coarse_r1": 5.0}, [], {}, {})
    assert set(write_choice(one, others)) == {"base", "indi"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (TUNE, "", "has no section 'tune'"),
        ("[0.001, 0.05]", "[0.05]", "the same number of trials, not base 2, fine 4, indi 4"),
        ("    fine:", "    fein:", "unknown variant 'fein'.*did you mean 'fine'"),
        ("validation: 0.25", "validation: much", "tune.validation must be a number"),
        ("train.lr: [0.001, 0.05]", "train.rate: [0.001, 0.05]", "unknown key 'rate'"),
        ("validation: 0.25", "validation: 0.9", "data.validation is 0.9"),
    ],
)
def test_mistakes_are_named(experiment, old, new, message):
    assert old in TUNE
    with pytest.raises(ConfigError, match=message):
        trials(experiment(TUNE.replace(old, new)))


def test_experiments_of_the_book_use_what_was_chosen():
    """What tune.json says was chosen is what the experiment's preset trains with."""
    tuned = [e for e in map(load_experiment, experiment_files()) if e.tune and choices_path(e).is_file()]
    for one in tuned:
        for variant, record in json.loads(choices_path(one).read_text()).items():
            config = one.resolve(variant, record["preset"]).to_dict()
            for key, value in record["chosen"].items():
                place = config
                for part in key.split("."):
                    place = place[part]
                assert place == value, (one.name, variant, key)
    assert experiment_path("cifar100").is_file()
