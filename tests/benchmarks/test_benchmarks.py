"""What the benchmarks share, without any timing, and that every script says how to call it."""

import importlib
import json
import runpy
import sys
from functools import partial

import pytest
import torch

from fglib.lab.places import root

FOLDER = root() / "benchmarks"


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch):
    """The scripts import what they share from their own folder."""
    monkeypatch.syspath_prepend(FOLDER)
    for name in ("measure", "record"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def measure(beside_the_scripts):
    return importlib.import_module("measure")


@pytest.fixture
def record(beside_the_scripts):
    return importlib.import_module("record")


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.py")), ids=lambda p: p.stem)
def test_every_script_says_how_to_call_it(script, monkeypatch, capsys):
    if script.stem == "measure":
        assert "__main__" not in script.read_text()
        return
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    assert stopped.value.code == 0 and f"python benchmarks/{script.name}" in said
    assert "--out" in said or script.stem == "record"


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5])
def test_slope_is_the_exponent_of_a_power_law(measure, power):
    assert measure.slope(measure.SCALES, [3 * scale**power for scale in measure.SCALES]) == pytest.approx(power)


def test_slope_is_fitted_by_least_squares(measure):
    # logarithms to base 2: x = 0, 1, 2 and y = 0, 1, 4, so sum (x - 1)(y - 5/3) / sum (x - 1)^2 = 4 / 2
    assert measure.slope([1, 2, 4], [1, 2, 16]) == pytest.approx(2.0)


def test_growth_runs_every_piece_at_every_scale(measure):
    asked, runs = [], []

    def make(scale):
        asked.append(scale)
        return {"one": lambda: runs.append(("one", scale)), "other": lambda: runs.append(("other", scale))}

    grown = measure.growth("the batch", make, repeats=2)
    assert asked == grown["scales"] == [0.25, 0.5, 1.0, 2.0] and grown["of"] == "the batch"
    assert len(runs) == 4 * 2 * 3  # scales, pieces, a warm-up and two runs
    assert runs[:6] == [("one", 0.25), ("other", 0.25)] * 3  # the pieces take turns
    for piece in ("one", "other"):
        assert grown["slope"][piece] == measure.slope(grown["scales"], grown["seconds"][piece])


def test_gradients_are_of_the_arguments_that_want_one(measure):
    one, other = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0, 4.0])
    value, gradient = measure.gradients(torch.mul, one, other, upstream=torch.tensor([1.0, 10.0]))
    assert value.tolist() == [3.0, 8.0] and not value.requires_grad and one.grad is None
    assert gradient.tolist() == [3.0, 40.0]


def test_a_training_step_moves_against_the_gradient(measure):
    weight = torch.nn.Parameter(torch.tensor(3.0))
    for _ in range(2):  # gradients do not add up
        measure.training_step(torch.optim.SGD([weight], 0.25), lambda: weight.square())
    assert weight.item() == 0.75


def test_peak_memory_counts_what_a_run_takes_beyond_its_inputs(measure):
    # partial(torch.ones, n): four bytes for each of n numbers, made in the run
    beyond, whole = measure.peak_megabytes(partial, (torch.ones, 10), (torch.ones, 10_000_000), 1)
    assert 40 <= beyond < 60 and whole > beyond


@pytest.mark.parametrize(
    ("value", "reach", "met"),
    [(1.5, "<= 1.5", True), (1.51, "<= 1.5", False), (2.0, ">= 2", True), (1.99, ">= 2", False)]
    + [(float("nan"), reach, False) for reach in ("<= 1", ">= 1")],
)
def test_a_target_is_met_or_missed(record, value, reach, met):
    outcome = record.reached(value, reach)
    assert outcome["met"] is met and outcome["reach"] == reach


def test_a_record_keeps_ratios_targets_and_peers(record, tmp_path, capsys, monkeypatch):
    out = tmp_path / "new" / "search.json"
    record.report(
        "search",
        {"ours": 3.0, "peer": 2.0},
        {"ours / peer": ("ours", "peer")},
        {"rows": 1000, "preset": "cpu"},
        str(out),
        measured={"peak MB": 20.0},
        targets={"ours / peer": "<= 1.2", "peak MB": "<= 150"},
        peers=record.versions({"peer": "torch"}),
        agreement={"labels": ([1, 2], [1, 2], 0.0)},
        notes=["A note."],
        growth={"of": "rows", "scales": [1], "seconds": {"ours": [3.0]}, "slope": {"ours": 1.0}},
    )
    kept = json.loads(out.read_text())
    assert kept["ratio"] == {"ours / peer": 1.5}
    assert {label: target["met"] for label, target in kept["targets"].items()} == {
        "ours / peer": False,
        "peak MB": True,
    }
    assert kept["peers"]["peer"].startswith("torch 2.") and kept["agreement"]["labels"]["difference"] == 0
    assert kept["growth"]["slope"] == {"ours": 1.0} and kept["notes"] == ["A note."]
    said = capsys.readouterr().out
    assert "<= 1.2: missed" in said and "<= 150: met" in said

    monkeypatch.setattr(sys, "argv", ["record.py", str(out.parent)])
    record.main()
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[0] == "search" and first.endswith("missed") and second.endswith("met")


def test_ratios_to_a_base_and_results_part_by_part(record):
    assert record.over("two products", ("ours",), "products") == {"ours / products": ("ours", "two products")}
    assert record.same(("loss",), [1.0], [2.0]) == {"loss": (1.0, 2.0, 1e-5)}


@pytest.mark.parametrize("ours", [[100.0, 1.0], [100.0, float("nan")]], ids=["apart", "no-number"])
def test_results_that_disagree_leave_no_record(record, tmp_path, ours):
    out = tmp_path / "search.json"
    with pytest.raises(SystemExit, match="results disagree: values differs"):
        record.report("search", {}, {}, {}, str(out), agreement={"values": (ours, [100.0, 2.0], 0.009)})
    assert not out.exists()
    # a hundredth of the largest of theirs
    record.report("search", {}, {}, {}, str(out), agreement={"values": ([100.0, 1.0], [100.0, 2.0], 0.0101)})
    assert json.loads(out.read_text())["agreement"]["values"]["difference"] == pytest.approx(0.01)


def test_results_are_compared_in_double_precision(record):
    difference = record._agree("values", 1.0 + 1e-12, 1.0, 1e-9)["difference"]
    assert difference == pytest.approx(1e-12, rel=1e-3)


def test_a_peer_that_is_not_installed_is_named(record):
    with pytest.raises(SystemExit, match="the peer no-such-package is not installed in .*; `make bench` installs"):
        record.versions({"piece": "no-such-package"})
