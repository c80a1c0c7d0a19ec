"""What tests of the ledger share."""

import math

import pytest
import yaml
from toy_claims import TOY

from fglib import lab
from fglib.lab.records import write_record


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """toy(preset, base=[...], ours=[...]) records fine_r1 by seed; returns the experiment's path."""
    path = tmp_path / "toy.yml"
    path.write_text(yaml.safe_dump(TOY))
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "results"))

    def record(preset="paper", **values):
        for variant, numbers in values.items():
            for plan, number in zip(lab.plans(str(path), preset, range(len(numbers)), [variant]), numbers):
                write_record(plan, {"fine_r1": number, "fine_map": math.nan}, [], {}, {})
        return str(path)

    return record
