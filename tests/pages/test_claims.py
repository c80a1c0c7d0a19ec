"""The ledger: verdicts on records made by hand, and the claims file of the book."""

import dataclasses
import json
import re
import statistics

import pytest
import yaml
from toy_claims import GAIN, TOY, claim, elsewhere, same

from fglib import lab
from fglib.errors import ConfigError, FglibError
from fglib.lab.places import book, root
from fglib.lab.records import write_record
from fglib.pages import claims
from fglib.pages.claims import PAPERS, Claim, judge, ledger, load_claims, readme_block, update_readme
from fglib.pages.evidence import Evidence
from fglib.pages.ledger import ledger_page


def test_reproduced_on_the_papers_setting(toy):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    verdict = judge(claim(same(path), elsewhere(path)))
    assert verdict.verdict == "reproduced"
    [measured] = verdict.measured
    assert measured.margins == (5.0, 6.0, 4.0) and measured.holds
    # mean 15 and half-width 4.30265 * 1 / sqrt(3), recomputed with the table's quantile
    half = 4.30265 * statistics.stdev(measured.margins) / 3**0.5
    assert (measured.low, measured.high) == pytest.approx((5 - half, 5 + half), rel=1e-5)
    assert "ours.fine_r1 - base.fine_r1 = 15.0 ± 2.5, needs >= 10" in verdict.reason
    assert (verdict.evidence.preset, verdict.evidence.seeds, verdict.evidence.same) == ("paper", 3, True)
    assert verdict.command == f"fglib train {path} --preset paper"


def test_direction_on_other_data_names_what_differs_and_what_is_missing(toy):
    path = toy("cpu", base=[50.0, 51.0, 49.0], ours=[53.0, 54.5, 52.0])
    verdict = judge(claim(same(path), elsewhere(path)))
    assert verdict.verdict == "holds in direction"
    assert "a smaller net" in verdict.reason
    assert f"the paper's own setting is not run (`fglib train {path} --preset paper`)" in verdict.reason
    assert verdict.command == f"fglib train {path} --preset cpu" and verdict.hardware == "a laptop"


def test_the_papers_setting_decides_against_evidence_from_elsewhere(toy):
    toy("cpu", base=[50.0, 51.0, 49.0], ours=[53.0, 54.5, 52.0])
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[53.0, 54.5, 52.0])
    verdict = judge(claim(elsewhere(path), same(path)))
    assert verdict.verdict == "contradicted here" and verdict.evidence.preset == "paper"
    assert "also on toy (preset cpu, 3 seeds) (a smaller net): holds in direction" in verdict.reason
    assert "undecided" not in verdict.reason


def test_all_clauses_must_hold_and_only_the_failing_are_given_as_reason(toy):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    verdict = judge(claim(same(path, GAIN, "base.fine_r1 > 60")))
    assert verdict.verdict == "contradicted here"
    assert [m.holds for m in verdict.measured] == [True, False]
    assert "base.fine_r1 = 50.0 ± 2.5, needs > 60" in verdict.reason and ">= 10" not in verdict.reason


def test_an_interval_that_reaches_zero_is_undecided_and_says_what_could_have_been_seen(toy):
    path = toy("paper", base=[50.0, 50.0, 50.0], ours=[61.0, 75.0, 60.5])
    verdict = judge(claim(same(path)))
    assert verdict.verdict == "undecided"
    assert re.search(r"needs >= 10 \(undecided: 3 seeds would show \d+\)", verdict.reason)


def test_one_contradicted_clause_is_enough_and_is_the_reason(toy):
    path = toy("paper", base=[50.0, 50.0, 50.0], ours=[61.0, 75.0, 60.5])
    verdict = judge(claim(same(path, GAIN, "base.fine_r1 < 50", "base.fine_r1 < 60")))
    assert verdict.verdict == "contradicted here"
    assert verdict.evidence.decisive == verdict.measured[1:2] and ">= 10" not in verdict.reason


def test_without_its_gate_evidence_says_nothing(toy):
    path = toy("cpu", base=[50.0, 51.0, 49.0], ours=[53.0, 54.5, 52.0])
    closed = dataclasses.replace(elsewhere(path), gate=("ours.fine_r1 > 60", "base.fine_r1 > 10"))
    verdict = judge(claim(same(path), closed))
    assert verdict.verdict == "not informative" and [m.holds for m in verdict.gates] == [False, True]
    assert (
        "its gate fails, ours.fine_r1 = 53.2 ± 3.1, needs > 60" in verdict.reason
        and "base.fine_r1 =" not in verdict.reason
    )
    assert f"the paper's own setting is not run (`fglib train {path} --preset paper`)" in verdict.reason


def test_what_could_have_come_out_either_way_decides_before_what_could_not(toy):
    toy("cpu", base=[50.0, 51.0, 49.0], ours=[53.0, 54.5, 52.0])
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    closed = dataclasses.replace(same(path), gate=("base.fine_r1 > 60",))
    verdict = judge(claim(closed, elsewhere(path)))
    assert verdict.verdict == "holds in direction" and verdict.evidence.preset == "cpu"
    assert "also on toy (preset paper, 3 seeds): not informative" in verdict.reason
    assert "is not run" not in verdict.reason
    opened = dataclasses.replace(closed, gate=("base.fine_r1 > 40",))
    assert judge(claim(elsewhere(path), opened)).verdict == "reproduced"


def test_a_gate_is_checked_like_a_rule(toy):
    path = toy("cpu", base=[50.0], ours=[53.0])
    with pytest.raises(ConfigError, match="claim patterns.toy, clause 'fone.fine_r1 > 1'|unknown variant 'fone'"):
        judge(claim(dataclasses.replace(elsewhere(path), gate=("fone.fine_r1 > 1",))))


def test_a_theorem_is_proved_and_says_where_its_bound_says_nothing(toy):
    path = toy("cpu", base=[50.0, 51.0, 49.0], ours=[53.0, 54.5, 52.0])
    theorem = Evidence(
        experiment=path,
        preset="cpu",
        same=True,
        proof=True,
        rule=("ours.fine_r1 >= base.fine_r1",),
        vacuous="base.fine_r1 < 60",
    )
    verdict = judge(claim(theorem))
    assert verdict.verdict == "proved" and "vacuous: base.fine_r1 = 50.0 ± 2.5, needs < 60" in verdict.reason
    verdict = judge(claim(dataclasses.replace(theorem, vacuous="base.fine_r1 < 20")))
    assert verdict.verdict == "proved" and "vacuous" not in verdict.reason


def test_variants_with_nothing_in_common_are_compared_unpaired(toy):
    """Paired by number the differences are alike; as six independent runs they are lost in the spread."""
    path = toy("cpu", base=[10.0, 50.0, 90.0], ours=[11.0, 51.0, 91.5])
    assert judge(claim(elsewhere(path))).verdict == "holds in direction"
    verdict = judge(claim(dataclasses.replace(elsewhere(path), paired=False)))
    assert verdict.verdict == "undecided" and verdict.measured[0].decided_by == "seeds, unpaired"


def test_too_few_seeds_are_not_run_with_count_command_and_hardware(toy):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0])
    verdict = judge(claim(same(path)))
    assert verdict.verdict == "not run" and verdict.measured == () and verdict.evidence is None
    assert "2 of 3 seeds" in verdict.reason and f"`fglib train {path} --preset paper`" in verdict.reason
    assert verdict.hardware == "a big machine" and verdict.hardware in verdict.reason


def test_nothing_recorded_names_the_first_evidence(toy):
    path = toy()
    verdict = judge(claim(same(path), elsewhere(path)))
    assert verdict.verdict == "not run" and verdict.command == f"fglib train {path} --preset paper"
    assert "0 of 3 seeds" in verdict.reason


def test_a_preset_with_fewer_seeds_than_a_verdict_needs_asks_for_more(toy, tmp_path):
    few = dict(TOY, presets={"cpu": dict(TOY["presets"]["cpu"], seeds=[0])})
    path = toy()
    (tmp_path / "toy.yml").write_text(yaml.safe_dump(few))
    assert judge(claim(elsewhere(path))).command == f"fglib train {path} --preset cpu --seeds 0,1,2"
    toy("cpu", base=[50.0, 51.0, 49.0], ours=[53.0, 54.5, 52.0])
    assert judge(claim(elsewhere(path))).verdict == "holds in direction"


def test_without_a_preset_paper_comes_before_cpu_once_it_has_enough_seeds(toy):
    path = toy("cpu", base=[50.0, 51.0, 49.0], ours=[53.0, 54.5, 52.0])
    toy("paper", base=[50.0], ours=[40.0])
    assert judge(claim(elsewhere(path, preset=None))).evidence.preset == "cpu"


def test_paper_decides_without_a_preset(toy):
    path = toy("cpu", base=[50.0, 51.0, 49.0], ours=[53.0, 54.5, 52.0])
    toy("paper", base=[50.0, 51.0, 49.0], ours=[40.0, 41.0, 42.0])
    verdict = judge(claim(elsewhere(path, preset=None)))
    assert verdict.evidence.preset == "paper" and verdict.verdict == "contradicted here"


def test_smoke_records_never_count(toy, tmp_path):
    smoke = dict(TOY, presets={"smoke": TOY["presets"]["cpu"], **TOY["presets"]})
    (tmp_path / "toy.yml").write_text(yaml.safe_dump(smoke))
    path = str(tmp_path / "toy.yml")
    for plan in lab.plans(path, "smoke"):
        write_record(plan, {"fine_r1": 1.0}, [], {}, {})
    assert judge(claim(elsewhere(path, preset=None))).verdict == "not run"


def test_a_metric_that_is_not_defined_is_no_record(toy):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    verdict = judge(claim(same(path, "ours.fine_map > base.fine_r1")))
    assert verdict.verdict == "not run" and "0 of 3 seeds" in verdict.reason


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            "ours.fine_r2 > base.fine_r1",
            r"unknown metric of ours 'fine_r2' in claim patterns.toy, clause 'ours.fine_r2 > "
            r"base.fine_r1'; did you mean 'fine_r1'",
        ),
        (
            "ous.fine_r1 > 0",
            r"unknown variant 'ous' in claim patterns.toy, clause 'ous.fine_r1 > 0'; did you mean 'ours'",
        ),
        ("fine_r1 > 0", r"claim patterns.toy, clause 'fine_r1 > 0': an experiment's numbers are named variant.metric"),
        ("open('x') > 0", r"claim patterns.toy: 'open\('x'\) > 0' is not a clause"),
    ],
)
def test_a_rule_that_names_what_is_not_there_is_an_error(toy, rule, message):
    path = toy("paper", base=[50.0], ours=[65.0])
    with pytest.raises(ConfigError, match=message):
        judge(claim(same(path, rule)))


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        (Evidence(rule=(GAIN,), same=True), "exactly one of 'experiment' and 'compute'"),
        (
            Evidence(rule=(GAIN,), same=True, experiment="omniglot", compute="fglib.pages.rules:t_interval"),
            "exactly one of",
        ),
        (Evidence(rule=(GAIN,), same=True, compute=""), "exactly one of"),
        (Evidence(rule=(), same=True, experiment="omniglot"), "has a rule"),
        (Evidence(rule=(GAIN,), same=False, experiment="omniglot"), "a note on what differs"),
        (Evidence(rule=(GAIN,), same=True, experiment="omniglott"), "unknown experiment 'omniglott'"),
        (Evidence(rule=("base.x > 0",), same=True, experiment="omniglot", preset="cpuu"), "unknown preset 'cpuu'"),
        (Evidence(rule=("x > 0",), same=True, compute="os:getpid"), "fglib.<module>:<function>"),
        (
            Evidence(rule=("x > 0",), same=True, compute="fglib.pages.rules:nothing"),
            "there is no fglib.pages.rules:nothing",
        ),
    ],
)
def test_evidence_that_says_too_much_or_too_little_is_an_error(evidence, message):
    with pytest.raises(ConfigError, match=f"claim patterns.toy.*{message}|{message}"):
        judge(claim(evidence))


# Numbers derived from the runs of a seed


def derived(experiment, *rule, derive="fglib.pages.claims:gains"):
    return Evidence(experiment=experiment, preset="paper", same=True, rule=rule, derive=derive)


@pytest.fixture
def gains(monkeypatch):
    """A function of the runs of a seed, found as `fglib.pages.claims:gains`; returns the variants that it was given."""
    seen = []

    def function(of_seed):
        seen.append((sorted(of_seed), {run.plan.seed for run in of_seed.values()}))
        if "base" not in of_seed:
            return {}
        return {
            f"{name}.gain": run.metrics["fine_r1"] - of_seed["base"].metrics["fine_r1"] for name, run in of_seed.items()
        }

    monkeypatch.setattr(claims, "gains", function, raising=False)
    return seen


def test_derived_numbers_are_made_seed_by_seed_and_used_like_recorded_ones(toy, gains):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    verdict = judge(
        claim(derived(path, "ours.gain >= 10", "ours.gain + base.fine_r1 == ours.fine_r1", "base.gain == 0"))
    )
    assert gains == [(["base", "ours"], {seed}) for seed in range(3)]
    assert verdict.verdict == "reproduced" and verdict.measured[0].margins == (5.0, 6.0, 4.0)
    assert judge(claim(derived(path, "ours.gain - base.gain >= 26"))).verdict == "contradicted here"


def test_a_seed_without_derived_numbers_is_left_out(toy, gains):
    path = toy("paper", base=[50.0, 51.0], ours=[65.0, 67.0, 63.0])
    verdict = judge(claim(derived(path, "ours.gain >= base.gain")))
    assert verdict.verdict == "not run" and "2 of 3 seeds" in verdict.reason


def test_a_derived_number_that_is_not_defined_leaves_its_seed_out(toy, monkeypatch):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    some = {0: 1.0, 1: None, 2: 3.0}
    derive = lambda of_seed: {"ours.some": some[of_seed["ours"].plan.seed]}  # noqa: E731
    monkeypatch.setattr(claims, "some", derive, raising=False)
    verdict = judge(claim(derived(path, "ours.some > 0", derive="fglib.pages.claims:some")))
    assert verdict.verdict == "not run" and "2 of 3 seeds" in verdict.reason


@pytest.mark.parametrize(
    ("derive", "rule", "message"),
    [
        (
            "fglib.pages.claims:gain",
            "ours.gain >= base.gain",
            "claim patterns.toy: there is no fglib.pages.claims:gain",
        ),
        ("fglib.nowhere:gains", "ours.gain >= base.gain", "claim patterns.toy: there is no fglib.nowhere:gains"),
        ("os:getpid", "ours.gain >= base.gain", "derive is fglib.<module>:<function>, got 'os:getpid'"),
        ("fglib.pages.claims", "ours.gain >= base.gain", "there is no fglib.pages.claims"),
        ("fglib.pages.claims:gains", "ours.gian >= base.gain", "unknown metric of ours 'gian' .*; did you mean 'gain'"),
        ("fglib.pages.claims:gains", "ours.gain >= base.fine_r2", "unknown metric of base 'fine_r2' .*mean 'fine_r1'"),
        ("fglib.pages.claims:gains", "theirs.gain >= base.gain", "unknown variant 'theirs'"),
    ],
)
def test_derived_numbers_that_are_not_there_are_named(toy, gains, derive, rule, message):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    with pytest.raises(ConfigError, match=message):
        judge(claim(derived(path, rule, derive=derive)))


def test_a_claim_about_convergence_reads_the_histories(toy, tmp_path):
    """The baseline ends at 20; ours is there after the second, the second and no epoch."""
    path = toy()
    (tmp_path / "toy.yml").write_text(
        yaml.safe_dump(TOY | {"variants": {"plain": TOY["variants"]["base"]} | TOY["variants"]})
    )
    errors = {"plain": [[40.0, 30.0, 20.0]] * 3, "ours": [[30.0, 20.0, 25.0], [50.0, 19.0, 18.0], [30.0, 29.0, 28.0]]}
    for variant, of_seed in errors.items():
        for plan, curve in zip(lab.plans(path, "paper", variants=[variant]), of_seed):
            history = [{"epoch": e, "test_error": error} for e, error in enumerate(curve, 1)]
            write_record(plan, {"test_error": curve[-1]}, history, {}, {})
    rule = "ours.epochs_to_reach < plain.epochs_to_reach"
    verdict = judge(claim(derived(path, rule, derive="fglib.pages.convergence:epochs_to_reach")))
    assert verdict.measured[0].margins == (1.0, 1.0, -1.0) and verdict.verdict == "undecided"


@pytest.mark.parametrize(("share", "verdict"), [(0.25, "proved"), (0.2500001, "contradicted here")])
def test_a_construction_is_computed_and_needs_no_seeds(share, verdict, monkeypatch):
    monkeypatch.setattr(claims, "share", lambda parts: {"share": share, "even": 1 / parts}, raising=False)
    found = judge(
        claim(Evidence(compute="fglib.pages.claims:share", arguments={"parts": 4}, same=True, rule=("share == even",)))
    )
    assert found.verdict == verdict and found.command == "fglib claims"
    assert f"share = {share:g}, needs == even (0.25)" in found.reason
    with pytest.raises(ConfigError, match=r"unknown value 'sher'.*did you mean 'share'"):
        judge(
            claim(Evidence(compute="fglib.pages.claims:share", arguments={"parts": 4}, same=True, rule=("sher == 1",)))
        )


def test_a_claim_without_evidence_is_not_run_and_says_so():
    verdict = judge(claim(data="ImageNet-1k"))
    assert verdict.verdict == "not run" and verdict.command is None
    assert verdict.reason == "no experiment for it in the library yet (data: ImageNet-1k)"


def test_verdicts_are_plain_json(toy):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    values = judge(claim(same(path), paper_values={0.1: [1, None]})).to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["measured"][0]["margins"] == [5.0, 6.0, 4.0]
    assert values["evidence"]["seeds"] == 3 and values["paper_values"] == {"0.1": [1, None]}


# The book's own claims


def test_the_claims_file_lists_every_claim_with_its_fields():
    found = load_claims()
    assert len(found) == 39 and len({c.id for c in found}) == 39
    assert {c.paper for c in found} == set(PAPERS)
    for c in found:
        assert c.id.startswith(f"{c.paper}.") and c.where and c.says.rstrip(")").endswith(".") and c.metric
        assert c.holds_if or not c.evidence
    assert all(c.evidence for c in found if c.paper == "patterns")


def test_no_measured_number_is_typed_into_the_claims_file():
    known = {f.name for f in dataclasses.fields(Claim)} - {"paper"}
    for entries in yaml.safe_load((book() / "claims.yml").read_text()).values():
        for entry in entries:
            assert set(entry) <= known


def test_every_rule_of_the_book_can_be_judged_without_records(tmp_path, monkeypatch):
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path))
    for verdict in ledger():
        computed = verdict.evidence is not None
        assert verdict.verdict == ("proved" if computed else "not run")
        if verdict.command:
            assert re.fullmatch(r"fglib claims|fglib train \w+ --preset (cpu|paper)", verdict.command)
            assert verdict.hardware


def test_a_misspelt_key_in_the_claims_file_is_an_error_that_names_the_claim(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text("patterns:\n- {id: patterns.x, where: Here, says: So., metric: none, holdsif: always}\n")
    with pytest.raises(ConfigError, match="'holdsif' in claim patterns.x in claims.yml; did you mean 'holds_if'"):
        load_claims(path)
    path.write_text("pattern: []")
    with pytest.raises(ConfigError, match="unknown paper 'pattern'"):
        load_claims(path)
    with pytest.raises(ConfigError, match="the claims file .*none.yml does not exist"):
        load_claims(tmp_path / "none.yml")


ONE = "{id: a, where: w, says: s, metric: m}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mapping of papers to lists of claims, got None"),
        ("- patterns", "must be a mapping of papers to lists of claims, got \\['patterns'\\]"),
        ("1: []", "unknown paper '1'"),
        ("patterns: 5", "'patterns' in .* must be a list of claims, got 5"),
        ("patterns:", "'patterns' in .* must be a list of claims, got None"),
        ("patterns: [a]", "claim 1 of 'patterns' in .* must be a mapping, got 'a'"),
        ("patterns: [{id: a}]", "claim a in claims.yml lacks the key 'where'"),
        ("patterns: [{where: w, says: s, metric: m}]", "claim 1 of 'patterns' in claims.yml lacks the key 'id'"),
        (f"patterns: [{ONE}, {ONE}]", "the id 'a' stands twice"),
        (f"patterns: [{ONE}]\nsubtle: [{ONE}]", "the id 'a' stands twice"),
        ("patterns: [{id: 5, where: w, says: s, metric: m}]", "claim 5 in claims.yml.id must be text, got 5"),
        (f"patterns: [{ONE[:-1]}, paper: subtle}}]", "claim a in claims.yml has the key 'paper'"),
        (f"patterns: [{ONE[:-1]}, evidence: {{rule: [x > 1]}}}}]", "claim a in .*evidence must be a list of mappings"),
        (f"patterns: [{ONE[:-1]}, evidence: [x > 1]}}]", "claim a in .*evidence must be a mapping, got 'x > 1'"),
        (f"patterns: [{ONE[:-1]}, evidence: [{{rule: x > 1, same: true}}]}}]", "evidence.rule must be a list of texts"),
        (f"patterns: [{ONE[:-1]}, evidence: [{{rule: [1], same: true}}]}}]", "evidence.rule must be text, got 1"),
        (f"patterns: [{ONE[:-1]}, evidence: [{{rule: [x > 1], same: 1}}]}}]", "evidence.same must be a truth value"),
        (f"patterns: [{ONE[:-1]}, paper_values: [1]}}]", "claim a in .*paper_values must be a mapping, got"),
        (f"patterns: [{ONE[:-1]}, paper_values: {{x: .nan}}}}]", "claim a in .*paper_values.x must be .* finite"),
        (f"patterns: [{ONE[:-1]}, where: v}}]", "the key 'where' stands there twice"),
    ],
)
def test_claims_of_odd_shapes_are_named(tmp_path, text, message):
    path = tmp_path / "claims.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_claims(path)


def test_ledger_of_one_paper():
    assert {v.paper for v in ledger("subtle")} == {"subtle"}
    with pytest.raises(ConfigError, match="did you mean 'patterns'"):
        ledger("pattern")


# The README's table


def test_readme_block_has_a_row_per_claim_with_evidence(toy):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    run, waiting = judge(claim(same(path))), judge(claim(elsewhere(path)))
    lines = readme_block([run, waiting, judge(claim())]).splitlines()
    rows = [line for line in lines if line.startswith("|")][2:]
    assert rows == [
        "| Table 9: Ours is better. | reproduced (toy) | `ours.fine_r1 - base.fine_r1 = 15.0 ± 2.5, needs >= 10` | "
        f"`fglib train {path} --preset paper` |",
        f"| Table 9: Ours is better. | not run | hardware: a laptop | `fglib train {path} --preset cpu` |",
    ]
    assert any(line.startswith("1 further claims") for line in lines)


def test_update_readme_writes_between_the_markers_and_only_once(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{claims.BEGIN}\nstale table\n{claims.END}\nafter\n")
    assert "written" in update_readme(path)
    text = path.read_text()
    assert (
        text.startswith("before\n" + claims.BEGIN)
        and text.endswith(claims.END + "\nafter\n")
        and "stale table" not in text
    )
    assert "up to date" in update_readme(path) and path.read_text() == text


def test_update_readme_without_markers_is_an_error_that_leaves_the_file(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("nothing here")
    with pytest.raises(FglibError, match="lacks the lines"):
        update_readme(path)
    assert path.read_text() == "nothing here"


def test_the_readmes_table_is_what_the_records_say(monkeypatch):
    monkeypatch.delenv("FGLIB_RESULTS", raising=False)
    assert readme_block(ledger()) in (root() / "README.md").read_text(), "run `fglib claims --readme`"


# The page


def test_the_page_lists_every_claim_and_escapes_what_it_shows(toy):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    shown = [judge(claim(same(path), says="a < b & <i>c</i>.", paper_values={"base": [1.5, None]})), *ledger("subtle")]
    html = ledger_page(shown)
    for verdict in shown:
        assert html.count(f'<tr id="{verdict.id}" data-verdict="{verdict.verdict}">') == 1
    assert "a &lt; b &amp; &lt;i&gt;c&lt;/i&gt;." in html and "<i>" not in html
    assert "base: [1.5, null]" in html
    assert "http" not in html and "src=" not in html


def test_no_text_of_a_claim_becomes_markup_of_the_page(toy, tmp_path):
    evil = "\"><script>alert('1')</script>`<b>`"
    shown = judge(claim(says=evil, where=evil, metric=evil, data=evil, paper_values={evil: evil}))
    hardware = {name: {**preset, "hardware": evil} for name, preset in TOY["presets"].items()}
    path = toy()
    (tmp_path / "toy.yml").write_text(yaml.safe_dump({**TOY, "presets": hardware}))
    waiting = judge(claim(same(path)))
    toy("cpu", base=[50.0, 51.0, 49.0], ours=[53.0, 54.5, 52.0])
    noted = judge(claim(dataclasses.replace(elsewhere(path), note=evil)))
    assert evil in waiting.reason and evil in noted.reason
    for verdict in (shown, waiting, noted, dataclasses.replace(shown, id=evil)):
        html = ledger_page([verdict])
        assert "<script" not in html and "<b>" not in html
        assert not re.search(r'id="">', html)


def test_no_text_of_a_claim_becomes_markup_of_the_readme(toy):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    row = readme_block([judge(claim(same(path), says="a | b <i>\nc & `d | <e>`"))]).splitlines()[4]
    assert row.startswith("| Table 9: a \\| b &lt;i> c &amp; `d \\| <e>` | reproduced")


def test_the_page_counts_the_verdicts(toy):
    path = toy("paper", base=[50.0, 51.0, 49.0], ours=[65.0, 67.0, 63.0])
    html = ledger_page([judge(claim(same(path))), judge(claim(elsewhere(path))), *ledger("subtle")])
    counts = dict(re.findall(r'<th scope="row">(?:. )?([a-z ]+)</th>((?:\s*<td>\d+</td>)+)', html))
    counts = {name: [int(n) for n in re.findall(r"\d+", cells)] for name, cells in counts.items()}
    found = [verdict.verdict for verdict in ledger("subtle")]
    subtle, computed, waiting = len(found), found.count("proved"), found.count("not run")  # of constructions
    assert computed + waiting == subtle
    assert counts == {
        "reproduced": [1, 0, 1],
        "proved": [0, computed, computed],
        **{name: [0, 0, 0] for name in ("holds in direction", "contradicted here", "undecided", "not informative")},
        "not run": [1, waiting, 1 + waiting],
        "claims": [2, subtle, 2 + subtle],
    }
