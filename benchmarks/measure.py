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
from torch import Tensor

from fglib.machine import keep_freed_memory, peak_memory

Pieces = dict[str, Callable[[], object]]
SCALES = (0.25, 0.5, 1.0, 2.0)


def begin(doc: str, repeats: int, keep: bool = True, **options: tuple) -> argparse.Namespace:
    """The arguments of a benchmark, whose own `options` are a default and a text of help each.

    It sets the process up as a training does: memory is kept, for all pieces alike, unless `keep` is False.
    """
    shared = {
        "repeats": (repeats, "runs of each piece, of which the median counts"),
        "threads": (torch.get_num_threads(), "of the processor"),
        "out": ("", "write the record to this file, JSON"),
    }
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, (default, said) in (shared | options).items():
        kind = {"action": "store_true"} if default is False else {"type": type(default), "default": default}
        parser.add_argument(f"--{name.replace('_', '-')}", help=said, **kind)
    args = parser.parse_args()
    if keep:
        keep_freed_memory()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    return args


def gradients(function: Callable[..., Tensor], *arguments, upstream: Tensor | None = None) -> tuple[Tensor, ...]:
    """Forward and backward: the value, and its gradients with regard to the arguments that want one."""
    value = function(*arguments)
    wanted = [a for a in arguments if isinstance(a, Tensor) and a.requires_grad]
    return value.detach(), *torch.autograd.grad(value, wanted, upstream)


def training_step(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> None:
    """Forward, backward and update."""
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()


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


def growth(of: str, make: Callable[[float], Pieces], repeats: int) -> dict:
    """Seconds of the pieces `make(scale)` for each scale of the work, and how they grow; `of` names what is scaled."""
    measured = [interleaved(make(scale), repeats) for scale in SCALES]
    seconds = {piece: [times[piece] for times in measured] for piece in measured[0]}
    slopes = {piece: slope(SCALES, values) for piece, values in seconds.items()}
    return {"of": of, "scales": list(SCALES), "seconds": seconds, "slope": slopes}


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
