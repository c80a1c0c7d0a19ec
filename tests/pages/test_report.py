"""What chapters print: means and spreads as recorded, the command where nothing is recorded."""

import json
import re
from html import unescape

import numpy as np
import pytest

from fglib import lab
from fglib.lab.records import write_record
from fglib.losses import instance_cross_entropy
from fglib.models import ema_update_
from fglib.pages import report


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Records of digits in the preset cpu, two seeds of base and one of base_indi, with made-up metrics."""
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path))
    origin = {"device": "cpu", "threads": 1, "seconds": 90.0, "peak_memory_mb": 1}
    for variant, seed, value in (("base", 0, 40.0), ("base", 1, 44.0), ("base_indi", 0, 60.0)):
        (plan,) = lab.plans("digits", "cpu", [seed], [variant])
        write_record(plan, {"fine_r1": value, "fine_map": float("nan")}, [], {}, origin)
    wanted = lab.plans("digits", "cpu", [0, 1])
    have = tuple(p.load() for p in wanted if p.recorded)
    return lab.Results(wanted[0].experiment, "cpu", have, tuple(p for p in wanted if not p.recorded))


def test_mean_and_spread():
    assert report.mean_and_spread(np.array([])) == "–"
    assert report.mean_and_spread(np.array([3.14159])) == "3.1"
    assert report.mean_and_spread(np.array([40.0, 44.0])) == "42.0\u00a0±\u00a02.8"  # sqrt(8)


def test_points_are_a_mean_with_its_interval():
    assert report.points(np.array([])) == "–"
    assert report.points(np.array([-2.04])) == "-2.0"
    # three values of deviation 1: the quantile of Student's t for two degrees of freedom is 4.303, over sqrt(3)
    assert report.points(np.array([1.0, 2.0, 3.0]), 2) == "+2.00 [-0.48,\u00a0+4.48]"


def test_differences_are_paired_by_the_seeds_that_both_variants_have(results):
    base, other = ({r.plan.seed: r.metrics["fine_r1"] for r in results.of(v)} for v in ("base", "base_indi"))
    expected = [other[seed] - base[seed] for seed in sorted(base) if seed in other]
    assert results.differences("base_indi", "base", "fine_r1").tolist() == expected and len(expected) == 1
    assert results.differences("base", "base", "fine_r1", "fine_r1").tolist() == [0.0, 0.0]
    assert len(results.differences("base", "base_indi", "no_such_metric")) == 0


def test_table_has_a_row_per_variant_and_the_papers_figures_beside(results):
    table = report.metric_table(results, ["fine_r1", "fine_map"], {"base": [37.06, None]})
    assert list(table.index) == ["Base", "Base-Indi"]
    assert table.loc["Base"].tolist() == [2, "42.0\u00a0±\u00a02.8", "37.06", "–", "–"]
    assert table.loc["Base-Indi"].tolist() == [1, "60.0", "–", "–", "–"]


def test_provenance_names_preset_seeds_and_what_is_missing(results):
    text = report.provenance(results).data
    assert "`digits`, preset `cpu`, 3 runs, seeds 0, 1" in text and "90 s each" in text
    assert "1 runs are missing: `fglib train digits --preset cpu`" in text


def test_nothing_recorded_gives_command_and_hardware(tmp_path, monkeypatch):
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path))
    text = report.provenance(lab.recorded("cifar100")).data
    assert "Not run" in text and "fglib train cifar100 --preset paper" in text and "GPU" in text


def test_summary_reads_the_experiment_and_source_the_library(results):
    summary = report.experiment_summary(results)["setting"]
    config = results.experiment.resolve("base", "cpu")
    assert f"{config.train.epochs} epochs" in summary["schedule"] and "digit" in summary["data"]
    source = report.source(instance_cross_entropy).data
    assert "def instance_cross_entropy" in source
    assert "From [fglib/losses/patterns.py](../fglib/losses/patterns.py)." in source
    assert "(../fglib/models/ema.py)" in report.source(ema_update_).data  # behind a decorator


def test_verdicts_come_from_the_ledger():
    html = report.verdicts("patterns.prop2.instances-do-not-suffice").data
    assert "Proposition 2" in html and html.count("<li>") == 1


def test_sliders_carry_their_data_and_wait_for_the_script():
    html = report.sliders("spot", [("left & right", 0, 9, 1, 3)], "<svg></svg>", big=[1, "a\"<b>'"]).data
    assert "<form hidden>" in html and "<svg></svg>" in html and "left &amp; right<span>: 3</span>" in html
    assert '<input type="range" min="0" max="9" step="1" value="3">' in html
    (values,) = re.findall(r'data-name="spot" data-values="([^"]*)"', html)
    assert json.loads(unescape(values)) == {"big": [1, "a\"<b>'"]}
