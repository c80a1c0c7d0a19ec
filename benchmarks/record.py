"""Timing and records that the benchmarks share."""

import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch


def interleaved(pieces: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each piece. They take turns, so that a busy moment of the machine falls on all alike."""
    for run in pieces.values():  # warm-up
        run()
    times: dict[str, list[float]] = {name: [] for name in pieces}
    for _ in range(repeats):
        for name, run in pieces.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def report(
    name: str,
    seconds: dict[str, float],
    ratios: dict[str, tuple[str, str]],
    work: dict[str, int],
    out: str | None = None,
) -> dict:
    """Prints the table, and writes it to `out` when given. `ratios` maps a name to (piece, piece it is divided by)."""
    record = {
        "name": name,
        "ratio": {label: seconds[piece] / seconds[base] for label, (piece, base) in ratios.items()},
        "seconds": seconds,
        "work": work,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
    print(f"{name}: {', '.join(f'{k} {v:,}' for k, v in work.items())}; {record['threads']} threads")
    for piece, value in seconds.items():
        print(f"  {piece:<28}{1000 * value:>10.1f} ms")
    for label, value in record["ratio"].items():
        print(f"  {label:<28}{value:>10.3f} x")
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(record, indent=2) + "\n")
    return record
