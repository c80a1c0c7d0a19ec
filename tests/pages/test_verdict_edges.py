"""Verdicts where several pieces of evidence meet, and how findings are named."""

import json

import pytest
import yaml
from toy_claims import GAIN, TOY, claim, elsewhere, same

from fglib import lab
from fglib.errors import ConfigError, FglibError
from fglib.lab.records import write_record
from fglib.pages import claims
from fglib.pages.claims import BEGIN, judge, readme_block, update_readme
from fglib.pages.evidence import MIN_SEEDS, Evidence, Finding, examine

CLEAR = {"base": [50.0, 51.0, 49.0], "ours": [65.0, 67.0, 63.0]}


def without_standing(verdict):
    """The remarks, but those on which code made the records."""
    return [remark for remark in verdict.remarks if "records were made" not in remark]


def test_only_the_papers_own_setting_is_said_to_be_missing(toy):
    path = toy("cpu", **CLEAR)
    verdict = judge(claim(elsewhere(path), elsewhere(path, "ours.fine_r1 > 0"), same(path)))
    assert verdict.verdict == "holds in direction"
    assert without_standing(verdict) == [
        "also on toy (preset cpu, 3 seeds) (a smaller net): holds in direction",
        f"the paper's own setting is not run (`fglib train {path} --preset paper`)",
    ]
    assert verdict.reason.startswith("toy (preset cpu, 3 seeds) (a smaller net): ours.fine_r1 - base.fine_r1")
    assert verdict.reason.endswith("; ".join(verdict.remarks))


def test_where_the_papers_setting_decides_nothing_is_said_to_be_missing(toy):
    path = toy("paper", **CLEAR)
    verdict = judge(claim(elsewhere(path), same(path), same(path, "ours.fine_r1 > 90")))
    assert verdict.verdict == "reproduced"
    assert without_standing(verdict) == ["also on toy (preset paper, 3 seeds): contradicted here"]


def test_the_first_of_equal_evidence_decides(toy):
    path = toy("paper", **CLEAR)
    holds, fails = same(path), same(path, "ours.fine_r1 > 90")
    assert judge(claim(holds, fails)).verdict == "reproduced"
    assert judge(claim(fails, holds)).verdict == "contradicted here"


def test_what_is_furthest_is_named_where_nothing_has_enough_seeds(toy):
    path = toy("cpu", base=[50.0, 51.0], ours=[65.0, 67.0])
    toy("paper", base=[50.0], ours=[65.0])
    verdict = judge(claim(same(path), elsewhere(path)))
    assert verdict.verdict == "not run" and verdict.command == f"fglib train {path} --preset cpu"
    assert verdict.hardware == "a laptop" and "2 of 3 seeds recorded of toy (preset cpu)" in verdict.reason


@pytest.mark.parametrize("seeds", [MIN_SEEDS - 1, MIN_SEEDS])
def test_three_seeds_are_enough(toy, seeds):
    path = toy("paper", base=[50.0] * seeds, ours=[65.0] * seeds)
    assert judge(claim(same(path))).verdict == ("reproduced" if seeds == MIN_SEEDS else "not run") and MIN_SEEDS == 3


def test_seeds_are_paired_by_their_number(toy, tmp_path):
    """The differences are 15 in every seed; paired otherwise they would be 15, 55 and -25."""
    path = toy("paper", base=[10.0, 50.0, 30.0], ours=[25.0, 65.0, 45.0])
    (measured,) = judge(claim(same(path))).measured
    assert measured.margins == (5, 5, 5) and (measured.low, measured.high) == (5, 5)


def test_a_claim_without_data_does_not_name_any():
    assert judge(claim()).reason == "no experiment for it in the library yet"


def test_a_finding_holds_only_where_something_is_measured():
    about = {"chapter": None, "same": True, "note": "", "command": "fglib claims", "hardware": "any"}
    nothing = Finding("toy", "paper", seeds=2, **about)
    assert nothing.verdict == "not run" and str(nothing) == "toy (preset paper, 2 seeds)"
    assert str(Finding("fglib.pages.rules.shares", None, seeds=None, **about)) == "fglib.pages.rules.shares"


def test_a_construction_is_named_by_its_function(monkeypatch):
    monkeypatch.setattr(claims, "share", lambda parts=2: {"share": 1 / parts}, raising=False)
    finding = examine(
        Evidence(compute="fglib.pages.claims:share", same=True, rule=("share == 0.5", "share > 0.4")), "here"
    )
    assert finding.source == "fglib.pages.claims.share" and finding.verdict == "proved" and finding.seeds is None
    verdict = judge(claim(Evidence(compute="fglib.pages.claims:share", same=True, rule=("share == 0.5",))))
    assert verdict.reason == "fglib.pages.claims.share: share = 0.5, needs == 0.5"


def test_a_derived_number_takes_its_arguments(toy, monkeypatch):
    path = toy("paper", **CLEAR)
    function = lambda of_seed, by=1.0: {"ours.scaled": by * of_seed["ours"].metrics["fine_r1"]}  # noqa: E731
    monkeypatch.setattr(claims, "scaled", function, raising=False)
    evidence = Evidence(
        experiment=path,
        preset="paper",
        same=True,
        rule=("ours.scaled - ours.fine_r1 == 65", "base.fine_r1 > 0"),
        derive="fglib.pages.claims:scaled",
        arguments={"by": 2.0},
    )
    assert judge(claim(evidence)).measured[0].margins == (0, -2, -2)


def test_a_metric_of_another_variant_is_no_metric_of_this_one(toy):
    path = toy("paper", **CLEAR)
    for seed in range(3):
        (plan,) = lab.plans(path, "paper", [seed], ["base"])
        write_record(plan, {"fine_r1": 1.0, "extra": 2.0}, [], {}, {})
    assert judge(claim(same(path, "base.extra > ours.fine_r1 - 70"))).verdict == "reproduced"
    with pytest.raises(ConfigError, match="unknown metric of ours 'extra'"):
        judge(claim(same(path, "ours.extra > base.fine_r1")))


def test_a_table_shows_two_clauses_at_most(toy):
    path = toy("paper", **CLEAR)
    verdict = judge(claim(same(path, "ours.fine_r1 > 1", "ours.fine_r1 > 2", "ours.fine_r1 > 3")))
    assert len(verdict.measured) == 3
    lines = readme_block([verdict]).splitlines()
    assert lines[2:4] == ["| Claim | Verdict | Measured | Command |", "|---|---|---|---|"]
    assert "needs > 1`; `" in lines[4] and "needs > 2` |" in lines[4] and "> 3" not in lines[4]


@pytest.mark.parametrize("text", ["", f"{BEGIN}\n", f"{claims.END}\n{BEGIN}\n"])
def test_a_readme_without_both_markers_in_their_order_is_left_alone(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(FglibError, match="lacks the lines"):
        update_readme(path)
    assert path.read_text() == text


def test_a_readme_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FglibError, match="README.md"):
        update_readme(tmp_path / "README.md")


def test_verdicts_hold_no_number_that_json_lacks(toy):
    path = toy("paper", **CLEAR)
    verdict = judge(claim(same(path), paper_values={"base": float("nan")}))
    with pytest.raises(ValueError, match="JSON compliant"):
        verdict.to_dict()
    assert json.dumps(judge(claim(same(path))).to_dict(), allow_nan=False)


def test_an_experiment_with_neither_preset_is_named(toy, tmp_path):
    path = toy()
    (tmp_path / "toy.yml").write_text(yaml.safe_dump(TOY | {"presets": {"smoke": TOY["presets"]["cpu"]}}))
    with pytest.raises(ConfigError, match="claim patterns.toy: experiment .*toy.yml has none of the presets"):
        judge(claim(elsewhere(path, GAIN, preset=None)))
