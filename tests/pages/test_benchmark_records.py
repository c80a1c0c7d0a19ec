"""Records of benchmarks on pages: their numbers as they were written, the command where there is no record."""

import json

import pytest

from fglib.pages import benchmarks

RECORD = {
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


@pytest.fixture(autouse=True)
def recorded(tmp_path, monkeypatch):
    """recorded(name, **changes) writes a record."""
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path))
    (tmp_path / "benchmarks").mkdir()
    return lambda name, **changes: (tmp_path / f"benchmarks/{name}.json").write_text(json.dumps(RECORD | changes))


def test_a_benchmark_without_a_record_says_how_to_make_one():
    (notice,) = benchmarks.benchmark("ema")
    assert "python benchmarks/ema.py --out book/results/benchmarks/ema.json" in notice.data
    assert benchmarks.record("ema") is None


def test_a_benchmark_shows_what_its_record_holds(recorded):
    recorded("search")
    seconds, ratio, measured, note = benchmarks.benchmark("search")
    assert seconds.loc["ours"].tolist() == ["3000.0"] and ratio.loc["ours / peer"].tolist() == ["150.0%"]
    assert measured.loc["peak MB"].tolist() == ["2,048"]
    assert note.data == (
        "Measured with queries 1,000, preset cpu; a processor, 2 threads, torch 2.11, 2026-01-02. "
        "Peers: package 1.0. The peer sorts."
    )
    recorded("search", measured={}, peers={}, notes=[])
    *tables, note = benchmarks.benchmark("search")
    assert len(tables) == 2 and note.data.endswith("2026-01-02.")


def test_targets_are_met_or_missed_or_not_set():
    assert benchmarks.target(RECORD, "ours / peer") == {"reach": "≤ 1.2", "outcome": "missed"}
    assert benchmarks.target(RECORD, "peak MB") == {"reach": "≥ 1000", "outcome": "met"}
    assert benchmarks.target(RECORD, "seconds") == {"reach": "", "outcome": ""}


def test_the_gpu_record_of_a_benchmark_comes_from_the_same_script():
    text = benchmarks.not_run("train_step_gpu", " --device cuda").data
    assert "python benchmarks/train_step.py --device cuda --out book/results/benchmarks/train_step_gpu.json" in text
