"""Records of the scripts of `benchmarks/` as pages show them, or how to make a record that is not there."""

import pandas as pd
from IPython.display import Markdown

from fglib.documents import read_json
from fglib.lab.places import results_dir

pd.set_option("display.max_colwidth", None)  # what was measured is named in full, not cut at 50 characters


def benchmark(name: str) -> list[pd.DataFrame | Markdown]:
    """Times, ratios and circumstances of a benchmark, for `display(*...)`; how to run it where it has no record."""
    found = record(name)
    if found is None:
        return [not_run(name)]
    columns = {
        "milliseconds": {piece: f"{1000 * seconds:.1f}" for piece, seconds in found["seconds"].items()},
        "ratio of times": {label: f"{ratio:.1%}" for label, ratio in found["ratio"].items()},
        "measured": {label: f"{x:,.4g}" for label, x in found["measured"].items()},
    }
    return [*(pd.DataFrame({title: column}) for title, column in columns.items() if column), note(found)]


def record(name: str) -> dict | None:
    """The record of a benchmark as its script wrote it, None where there is none."""
    path = results_dir() / "benchmarks" / f"{name}.json"
    return read_json(path, "benchmark record") if path.is_file() else None


def not_run(name: str, options: str = "") -> Markdown:
    """The notice that stands where a benchmark's numbers would, with the command."""
    script = name.removesuffix("_gpu")
    command = f"python benchmarks/{script}.py{options} --out book/results/benchmarks/{name}.json"
    return Markdown(f"> **Not run.** No record of the benchmark yet; on an idle machine: `{command}`")


def note(record: dict) -> Markdown:
    """The circumstances of a record: work, machine, versions of the peers, date, and what its script notes."""
    work = ", ".join(f"{k} {v}" if isinstance(v, str) else f"{k} {v:,}" for k, v in record["work"].items())
    where = f"{record['device']}, {record['threads']} threads, torch {record['torch']}, {record['date']}"
    peers = ", ".join(sorted(set(record["peers"].values())))
    sentences = [f"Measured with {work}; {where}.", f"Peers: {peers}." if peers else "", *record["notes"]]
    return Markdown(" ".join(filter(None, sentences)))


def target(record: dict, label: str) -> dict[str, str]:
    """What a ratio or another number of a record should reach, and whether it does; blank where nothing was set."""
    if label not in record["targets"]:
        return {"reach": "", "outcome": ""}
    found = record["targets"][label]
    reach = found["reach"].replace("<=", "≤").replace(">=", "≥")
    return {"reach": reach, "outcome": "met" if found["met"] else "missed"}
