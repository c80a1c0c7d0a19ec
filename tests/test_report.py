"""What chapters print: means and spreads as recorded, the command where nothing is recorded."""

import json

import numpy as np
import pytest

from fglib import report, runs
from fglib.losses import instance_cross_entropy


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Records of digits in the preset cpu, two seeds of base and one of base_indi, with made-up metrics."""
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path))
    origin = {"device": "cpu", "threads": 1, "seconds": 90.0, "peak_memory_mb": 1}
    for variant, seed, value in (("base", 0, 40.0), ("base", 1, 44.0), ("base_indi", 0, 60.0)):
        (plan,) = runs.plans("digits", "cpu", [seed], [variant])
        runs.write_record(plan, {"fine_r1": value, "fine_map": float("nan")}, [], {}, origin)
    wanted = runs.plans("digits", "cpu", [0, 1])
    have = tuple(p.load() for p in wanted if p.recorded)
    return runs.Results(wanted[0].experiment, "cpu", have, tuple(p for p in wanted if not p.recorded))


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
    text = report.provenance(runs.recorded("cifar100")).data
    assert "Not run" in text and "fglib train cifar100 --preset paper" in text and "GPU" in text


def test_summary_reads_the_experiment_and_source_the_library(results):
    summary = report.experiment_summary(results)["setting"]
    config = results.experiment.resolve("base", "cpu")
    assert f"{config.train.epochs} epochs" in summary["schedule"] and "digit" in summary["data"]
    assert "def instance_cross_entropy" in report.source(instance_cross_entropy).data


def test_verdicts_come_from_the_ledger():
    html = report.verdicts("patterns.prop2.instances-do-not-suffice").data
    assert "Proposition 2" in html and html.count("<li>") == 1


def test_a_benchmark_is_shown_from_its_record_or_says_how_to_make_one(tmp_path, monkeypatch):
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path))
    (notice,) = report.benchmark("ema")
    assert "python benchmarks/ema.py --out book/results/benchmarks/ema.json" in notice.data
    (tmp_path / "benchmarks").mkdir()
    record = {"seconds": {"step": 2.0}, "ratio": {"average / step": 0.012}, "work": {"batch": 1024}}
    text = json.dumps(record | {"threads": 2, "torch": "2.11", "date": "2026-01-02"})
    (tmp_path / "benchmarks/ema.json").write_text(text)
    seconds, ratio, note = report.benchmark("ema")
    assert seconds.loc["step"].tolist() == ["2000.0"] and ratio.loc["average / step"].tolist() == ["1.2%"]
    assert "batch 1,024; 2 threads, torch 2.11, 2026-01-02" in note.data
    assert report.benchmark_targets("ema").empty  # a record of before there were targets


def test_targets_of_benchmarks_and_what_else_was_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path))
    (tmp_path / "benchmarks").mkdir()
    record = {
        "seconds": {"ours": 3.0, "peer": 2.0},
        "ratio": {"ours / peer": 1.5},
        "work": {"queries": 1000, "preset": "cpu"},
        "measured": {"peak MB": 2048.0},
        "targets": {
            "ours / peer": {"reach": "<= 1.2", "value": 1.5, "met": False},
            "peak MB": {"reach": ">= 1000", "value": 2048.0, "met": True},
        },
        "peers": {"peer": "package 1.0"},
        "notes": ["The peer sorts."],
        "device": "a processor",
        "threads": 2,
        "torch": "2.11",
        "date": "2026-01-02",
    }
    (tmp_path / "benchmarks/search.json").write_text(json.dumps(record))
    *_, measured, note = report.benchmark("search")
    assert measured.loc["peak MB"].tolist() == ["2,048"]
    assert note.data == (
        "Measured with queries 1,000, preset cpu; a processor, 2 threads, torch 2.11, 2026-01-02. "
        "Peers: package 1.0. The peer sorts."
    )
    table = report.benchmark_targets("absent", "search")
    assert table["reach"].tolist() == ["≤ 1.2", "≥ 1000"] and table["outcome"].tolist() == ["missed", "met"]


def test_the_gpu_record_of_a_benchmark_comes_from_the_same_script():
    text = report.benchmark_not_run("train_step_gpu", " --device cuda").data
    assert "python benchmarks/train_step.py --device cuda --out book/results/benchmarks/train_step_gpu.json" in text
