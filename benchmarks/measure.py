"""How the benchmarks measure: pieces by turns, growth with the work, peak memory of a process of its own."""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import torch

from fglib.allocator import keep_freed_memory
from fglib.provenance import peak_memory

Pieces = dict[str, Callable[[], object]]
SCALES = (0.25, 0.5, 1.0, 2.0)


def options(doc: str, repeats: int) -> argparse.ArgumentParser:
    """The parser of a benchmark, with what all of them understand."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats, help="runs of each piece, of which the median counts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", help="write the record to this file, JSON")
    return parser


def begin(args: argparse.Namespace, keep: bool = True) -> None:
    """Set the process up as a training does: its memory is kept, for all pieces alike. `keep` False leaves that out."""
    if keep:
        keep_freed_memory()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)


def interleaved(pieces: Pieces, repeats: int) -> dict[str, float]:
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


def growth(of: str, make: Callable[[float], Pieces], repeats: int, scales: Sequence[float] = SCALES) -> dict:
    """Seconds of the pieces `make(scale)` for each scale of the work, and how they grow; `of` names what is scaled."""
    measured = [interleaved(make(scale), repeats) for scale in scales]
    seconds = {piece: [times[piece] for times in measured] for piece in measured[0]}
    return {
        "of": of,
        "scales": list(scales),
        "seconds": seconds,
        "slope": {piece: slope(scales, values) for piece, values in seconds.items()},
    }


def slope(scales: Sequence[float], seconds: Sequence[float]) -> float:
    """Exponent of the growth: the slope of a line through the logarithms, by least squares; 1 is proportional."""
    return statistics.linear_regression([math.log(s) for s in scales], [math.log(s) for s in seconds]).slope


def peak_megabytes(make: Callable[..., Callable], small: tuple, full: tuple, threads: int) -> tuple[int, int]:
    """Peak of one run of `make(*full)` in a process of its own, in megabytes: beyond its inputs, and of the process.

    `make` is a function of a module. The process first runs `make(*small)`, at which libraries load. It returns freed
    memory as usual, so that it is what the piece asks for that counts.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        before, after = pool.submit(_peaks, make, small, full, threads).result()
    return round((after - before) / 1e6), round(after / 1e6)


def _peaks(make: Callable[..., Callable], small: tuple, full: tuple, threads: int) -> tuple[int, int]:
    """Peak bytes of this process before and after a run."""
    torch.set_num_threads(threads)
    make(*small)()
    run = make(*full)
    with suppress(OSError):  # where the kernel can, the peak starts anew from what is held now
        Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory()
    run()
    return before, peak_memory()
