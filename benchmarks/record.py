"""Records of the benchmarks: times, ratios, targets, and results that must agree with the peers'.

Run alone it prints the targets of all records in a folder, met or missed:

    python benchmarks/record.py [book/results/benchmarks]
"""

import argparse
import json
import operator
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from fglib.lab.places import results_dir
from fglib.machine import processor

COMPARISONS = {"<=": operator.le, ">=": operator.ge}


def versions(packages: dict[str, str]) -> dict[str, str]:
    """Package and version behind each peer, {piece: package}; SystemExit where one is not installed."""
    try:
        return {piece: f"{package} {version(package)}" for piece, package in packages.items()}
    except PackageNotFoundError as e:
        raise SystemExit(
            f"the peer {e.name} is not installed in {sys.prefix}; `make bench` installs all peers there, "
            "`pip install '.[bench]'` in an environment of your own"
        ) from None


def over(base: str, pieces: Iterable[str], short: str = "") -> dict[str, tuple[str, str]]:
    """Ratios of pieces to a base, which labels give in short where that is given."""
    return {f"{piece} / {short or base}": (piece, base) for piece in pieces}


def same(parts: Iterable[str], ours: Iterable, theirs: Iterable) -> dict[str, tuple]:
    """Results that must agree but for rounding, part by part."""
    return {part: (one, other, 1e-5) for part, one, other in zip(parts, ours, theirs)}


def report(
    name: str,
    seconds: dict[str, float],
    ratios: dict[str, tuple[str, str]],
    work: dict[str, int | str],
    out: str = "",
    *,
    measured: Mapping[str, float] = {},
    targets: Mapping[str, str] = {},
    peers: Mapping[str, str] = {},
    agreement: Mapping[str, tuple] = {},
    notes: Iterable[str] = (),
    device: str = "",
    **more,
) -> dict:
    """Prints the table, and writes it to `out` when given; SystemExit, and no record, where results disagree.

    ratios: a name and (piece, piece it is divided by). measured: other numbers, such as megabytes. targets: of a ratio
    or another number what it should reach, "<= 1.5" or ">= 2". peers: see `versions`. agreement: a name and (ours,
    theirs, tolerance), compared relative to the largest of theirs. notes: sentences to read the numbers with. device:
    name of the accelerator, if that was measured. `more` joins the record as it is.
    """
    ratio = {label: seconds[piece] / seconds[base] for label, (piece, base) in ratios.items()}
    record = {
        "name": name,
        "ratio": ratio,
        "seconds": seconds,
        "work": work,
        "measured": measured,
        "targets": {label: reached((ratio | measured)[label], reach) for label, reach in targets.items()},
        "peers": peers,
        "agreement": {label: _agree(label, *pair) for label, pair in agreement.items()},
        "notes": list(notes),
        **more,
        "device": device or processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
    show(record)
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return record


def reached(value: float, reach: str) -> dict:
    """A target such as "<= 1.5" beside what was measured, and whether it is met; a value that is no number is not."""
    comparison, limit = reach.split()
    return {"reach": reach, "value": value, "met": COMPARISONS[comparison](value, float(limit))}


def _agree(label: str, ours, theirs, tolerance: float) -> dict:
    """Largest difference of two results relative to the largest of theirs; SystemExit beyond the tolerance."""
    ours, theirs = (torch.as_tensor(x, dtype=torch.float64).detach() for x in (ours, theirs))
    difference = ((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-300)).item()
    if not difference <= tolerance:  # also where it is no number
        raise SystemExit(
            f"results disagree: {label} differs by {difference:.2g}, more than {tolerance:g}; times of different "
            "results say nothing, so none is recorded"
        )
    return {"difference": difference, "tolerance": tolerance}


def show(record: dict) -> None:
    """Print a record."""
    work = ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in record["work"].items())
    print(f"{record['name']}: {work}; {record['threads']} threads, {record['device']}")
    for piece, value in record["seconds"].items():
        print(f"  {piece:<44}{1000 * value:>12.1f} ms  {record['peers'].get(piece, '')}".rstrip())
    for label, value in (record["ratio"] | record["measured"]).items():
        target = record["targets"].get(label)
        said = f"  {target['reach']}: {'met' if target['met'] else 'missed'}" if target else ""
        print(f"  {label:<44}{value:>12,.3f} {'x' if label in record['ratio'] else ' '}{said}".rstrip())
    for piece, value in record.get("growth", {}).get("slope", {}).items():
        print(f"  {piece + ', growth with ' + record['growth']['of']:<44}{value:>12.2f}")
    for label, value in record["agreement"].items():
        print(f"  agrees: {label}, {value['difference']:.1e} of {value['tolerance']:g}")
    for note in record["notes"]:
        print(f"  {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=results_dir() / "benchmarks")
    folder = parser.parse_args().folder
    for path in sorted(folder.glob("*.json")):
        for label, target in json.loads(path.read_text(encoding="utf-8")).get("targets", {}).items():
            said = "met" if target["met"] else "missed"
            print(f"{path.stem:<20}{label:<52}{target['reach']:>10}{target['value']:>12,.3f}  {said}")


if __name__ == "__main__":
    main()
