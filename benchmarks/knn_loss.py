"""What Grafit's kNN loss (Eqs. 2 and 3) costs beyond the two products that nothing can avoid.

Forward and backward on unit vectors and random labels, in one process, interleaved, medians. The products are those of
the similarities and of their gradient with regard to the embeddings. The usual recipe is a masked softmax over the
memory and the logarithm of its sum over the class, differentiated automatically. Peak memory is what a fresh process
takes on top of the inputs.

    python benchmarks/knn_loss.py [--out record.json]
"""

import argparse
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from record import interleaved, report
from torch import Tensor

from fglib.losses import knn_loss

TEMPERATURE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000, help="training images n, the rows of the memory")
    parser.add_argument("--dim", type=int, default=128, help="dimensions d")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", help="write the record to this file, JSON")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    sizes = args.images, args.dim, args.batch, args.classes
    embeddings, memory, index, labels = inputs(*sizes)

    def products() -> None:
        with torch.no_grad():
            (embeddings @ memory.T) @ memory

    pieces = {"two products": products}
    pieces |= {name: partial(step, loss, embeddings, memory, index, labels) for name, loss in LOSSES.items()}
    seconds = interleaved(pieces, args.repeats)
    peaks = {f"peak MB, {name}": peak_megabytes(name, sizes, args.threads) for name in LOSSES}
    report(
        "knn_loss",
        seconds,
        ratios={
            "kNN loss / two products": ("kNN loss", "two products"),
            "usual recipe / two products": ("usual recipe", "two products"),
        },
        work={"n": args.images, "d": args.dim, "batch": args.batch, "classes": args.classes} | peaks,
        out=args.out,
    )


def inputs(images: int, dim: int, batch: int, classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings, a memory of unit length, slots and labels; nothing as large as the memory is made beside it."""
    torch.manual_seed(0)
    memory = torch.randn(images, dim)
    memory /= memory.norm(dim=1, keepdim=True)
    embeddings = torch.randn(batch, dim, requires_grad=True)
    return embeddings, memory, torch.randperm(images)[:batch], torch.randint(classes, (images,))


def usual_recipe(embeddings: Tensor, memory: Tensor, index: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """-log of the class's part of a softmax over the memory, as it is mostly written."""
    weights = (F.normalize(embeddings) @ memory.T / temperature).exp()
    weights = weights.scatter(1, index[:, None], 0.0)
    positive = labels[None] == labels[index][:, None]
    return -((weights * positive).sum(1) / weights.sum(1)).log().mean()


LOSSES = {"kNN loss": knn_loss, "usual recipe": usual_recipe}


def step(loss, embeddings: Tensor, memory: Tensor, index: Tensor, labels: Tensor) -> None:
    embeddings.grad = None
    loss(embeddings, memory, index, labels, temperature=TEMPERATURE).backward()


def peak_megabytes(name: str, sizes: tuple[int, ...], threads: int) -> int:
    """Megabytes of a forward and backward pass beyond the inputs, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return round(pool.submit(grown, name, sizes, threads).result() / 1e6)


def grown(name: str, sizes: tuple[int, ...], threads: int) -> int:
    """By how many bytes one pass raises the peak of this process."""
    torch.set_num_threads(threads)
    step(LOSSES[name], *inputs(512, *sizes[1:]))  # libraries load at the first call
    given = inputs(*sizes)
    before = peak()
    step(LOSSES[name], *given)
    return peak() - before


def peak() -> int:
    """Peak bytes of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # the other counter of Linux starts from the peak of the process that started this one
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
