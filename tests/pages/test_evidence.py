"""Evidence: damaged records count as not recorded, and functions take the arguments that are named for them."""

import sys

import pytest

from fglib import lab
from fglib.documents import read_json
from fglib.errors import ConfigError, RecordError
from fglib.lab import records
from fglib.lab.records import write_record
from fglib.pages import claims
from fglib.pages.claims import Claim, judge
from fglib.pages.evidence import Evidence
from fglib.pages.ledger import ledger_page

RULE = ("base.fine_r1 > 0",)


def claim(**evidence):
    fields = {"rule": RULE, "same": True, **evidence}
    return Claim("patterns.toy", "patterns", "Table 9", "Ours.", "R@1 (%)", evidence=(Evidence(**fields),))


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Plans of a variant of the book, one for every seed of the preset cpu, all recorded."""
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path))
    plans = lab.plans("omniglot", "cpu", variants=["base"])
    for plan in plans:
        write_record(plan, {"fine_r1": 40.0 + plan.seed}, [], {}, {})
    return plans


def test_a_damaged_record_counts_as_not_recorded_and_is_named(recorded):
    whole = judge(claim(experiment="omniglot", preset="cpu"))
    assert whole.verdict == "reproduced" and whole.evidence.seeds == len(recorded) and not whole.evidence.damaged
    (recorded[0].folder / "run.json").write_text("{")
    verdict = judge(claim(experiment="omniglot", preset="cpu"))
    assert verdict.verdict == "not run" and f"{len(recorded) - 1} of 3 seeds recorded" in verdict.reason
    (remark,) = (r for r in verdict.remarks if "does not count" in r)
    assert remark.startswith(f"a record does not count: the record {recorded[0].folder / 'run.json'} is not JSON")
    assert remark in verdict.reason and "does not count" in ledger_page([verdict])


def test_arrays_that_cannot_be_read_leave_their_seed_out(recorded, monkeypatch):
    def derive(of_seed):
        run = of_seed["base"]
        if run.plan.seed == 1:
            raise RecordError("the arrays of seed 1 cannot be read")
        return {"base.more": 1.0}

    monkeypatch.setattr(claims, "derive", derive, raising=False)
    verdict = judge(
        claim(experiment="omniglot", preset="cpu", rule=("base.more > 0",), derive="fglib.pages.claims:derive")
    )
    assert verdict.verdict == "not run" and "a record does not count: the arrays of seed 1" in verdict.reason


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        (
            {"arguments": {"shar": 1}},
            r"fglib\.measure\.theory:proposition_1 does not take the arguments {'shar': 1} \(.*shar",
        ),
        ({"compute": "fglib.pages.claims:BEGIN"}, r"fglib\.pages\.claims:BEGIN .*not a callable|does not take"),
        ({"compute": "fglib.pages.rules:t_interval", "arguments": {"values": [1, 2]}}, "must return named numbers"),
        ({"compute": "fglib.measure.boosting:gradient_signs", "arguments": {"classes": -3}}, "refuses its arguments"),
        ({"arguments": {"per_class": "x"}}, "refuses its arguments"),
    ],
)
def test_functions_that_do_not_fit_are_named(evidence, message):
    fields = {"compute": "fglib.measure.theory:proposition_1", "rule": ("x > 0",), **evidence}
    with pytest.raises(ConfigError, match=f"claim patterns.toy: .*{message}"):
        judge(claim(**fields))


def test_a_derived_number_takes_the_runs_and_its_arguments(recorded):
    fields = {
        "derive": "fglib.pages.convergence:epochs",
        "experiment": "omniglot",
        "preset": "cpu",
        "arguments": {"no": 1},
    }
    with pytest.raises(ConfigError, match="does not take the arguments|there is no"):
        judge(claim(**fields))


def test_a_record_reaches_its_verdict_in_at_most_eight_calls(recorded, monkeypatch):
    deepest = []

    def calls(path, what):
        frame, names = sys._getframe(1), [judge.__name__]
        while frame.f_code is not judge.__code__:
            names += [frame.f_code.co_name] if frame.f_code.co_name.isidentifier() else []  # no comprehensions
            frame = frame.f_back
        deepest.append(len(names))
        return read_json(path, what)

    monkeypatch.setattr(records, "read_json", calls)
    assert judge(claim(experiment="omniglot", preset="cpu")).verdict == "reproduced"
    assert deepest and max(deepest) <= 8
