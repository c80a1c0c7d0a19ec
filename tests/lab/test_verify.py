"""fglib verify: a record gets today's fingerprints where the first epoch gives its losses again, and only there."""

import json

import pytest
from tiny_grid import YAML

from fglib import lab
from fglib.lab.records import CHANGED, CURRENT, UNKNOWN
from fglib.lab.verify import compare, verify
from fglib.methods import METHODS


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("FGLIB_CHECKPOINTS", str(tmp_path / "checkpoints"))
    (tmp_path / "tiny.yml").write_text(YAML)
    return lab.ensure(str(tmp_path / "tiny.yml"), "cpu", device="cpu", seeds=[0], variants=["base"]).runs[0].plan


def record(plan, **change):
    path = plan.folder / "run.json"
    kept = json.loads(path.read_text()) | change
    path.write_text(json.dumps({k: v for k, v in kept.items() if v is not None}))
    return kept


def test_an_old_record_that_agrees_gets_fingerprints_and_keeps_its_numbers(plan):
    before = record(plan, fingerprints=None, arrays=None)
    assert plan.load().standing == UNKNOWN
    check = verify(plan, device="cpu")
    assert check.agrees and "0.0e+00" in check.reason
    after = json.loads((plan.folder / "run.json").read_text())
    assert plan.load().standing == CURRENT and after["verified"].keys() == {"date", "revision", "result"}
    assert all(after[k] == before[k] for k in ("metrics", "history", "config", "provenance"))


def test_a_record_of_todays_code_is_not_trained_again_unless_asked(plan, monkeypatch):
    from fglib.lab import run

    trained = []
    real = run.first_epoch
    monkeypatch.setattr(run, "first_epoch", lambda plan, **how: trained.append(plan) or real(plan, **how))
    assert verify(plan, device="cpu").agrees and not trained
    assert verify(plan, device="cpu", again=True).agrees and len(trained) == 1


def test_a_changed_loss_is_told_and_nothing_is_written(plan, monkeypatch):
    record(plan, fingerprints={"data": plan.load().fingerprints["data"], "code": "older"})
    before = (plan.folder / "run.json").read_bytes()
    loss = METHODS["base"].loss
    monkeypatch.setattr(METHODS["base"], "loss", lambda self, batch: {"total": 1.01 * loss(self, batch)["total"]})
    check = verify(plan, device="cpu")
    assert check.agrees is False and "largest difference" in check.reason
    assert (plan.folder / "run.json").read_bytes() == before and plan.load().standing == CHANGED


def test_changed_images_and_missing_weights_are_said(plan, tmp_path):
    record(plan, fingerprints={"data": "0123456789abcdef-5-5", "code": "older"})
    check = verify(plan, device="cpu")
    assert check.agrees is False and "images or labels have changed" in check.reason


@pytest.mark.parametrize(
    ("recorded", "now", "agrees"),
    [
        ({"total": 2.0}, {"total": 2.0019}, True),
        ({"total": 2.0}, {"total": 2.0021}, False),
        ({"total": 0.0}, {"total": 0.0}, True),
        ({"total": 0.0}, {"total": 1e-9}, False),
        ({"total": 1.0, "train_error": 5.0}, {"total": 1.0}, True),
        ({"total": 1.0, "first": 1.0}, {"total": 1.0, "coarse": 1.0}, False),
        ({"total": float("nan")}, {"total": 1.0}, False),
    ],
)
def test_losses_agree_within_the_tolerance(recorded, now, agrees):
    frame = {"epoch": 1, "lr": 0.1}
    assert compare(frame | recorded, frame | now, 1e-3)[1] is agrees
