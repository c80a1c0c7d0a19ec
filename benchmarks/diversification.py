"""What the diversification block (Sun et al., Section 3.1) costs beside global average pooling.

Forward and backward on random class maps, in one process, interleaved, medians. The block is timed alone, its draws
included, and followed by the pooling. The usual recipe builds its masks with boolean tensors and selects by them.

    python benchmarks/diversification.py [--out record.json]
"""

import argparse
from functools import partial

import torch
from record import interleaved, report
from torch import Tensor

from fglib.models import DiversificationBlock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--side", type=int, default=14, help="height and width of the maps")
    parser.add_argument("--patch-size", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", help="write the record to this file, JSON")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    maps = torch.randn(args.batch, args.classes, args.side, args.side, requires_grad=True)
    of_maps, of_scores = torch.randn(maps.shape), torch.randn(maps.shape[:2])
    block = DiversificationBlock(patch_size=args.patch_size).train()
    recipe = partial(usual_recipe, patch_size=args.patch_size)
    seconds = interleaved(
        {
            "average pooling": partial(step, pool, maps, of_scores),
            "block": partial(step, block, maps, of_maps),
            "block and pooling": partial(step, lambda m: pool(block(m)), maps, of_scores),
            "usual recipe and pooling": partial(step, lambda m: pool(recipe(m)), maps, of_scores),
        },
        args.repeats,
    )
    pieces = ("block", "block and pooling", "usual recipe and pooling")
    report(
        "diversification",
        seconds,
        ratios={f"{piece} / pooling": (piece, "average pooling") for piece in pieces},
        work={"batch": args.batch, "classes": args.classes, "side": args.side, "patch_size": args.patch_size},
        out=args.out,
    )


def step(piece, maps: Tensor, upstream: Tensor) -> None:
    torch.autograd.grad(piece(maps), maps, upstream)


def pool(maps: Tensor) -> Tensor:
    return maps.mean((2, 3))


def usual_recipe(maps: Tensor, patch_size: int, p: float = 0.5, alpha: float = 0.1) -> Tensor:
    """Equations 1 to 7 one after the other, as they are printed."""
    batch, classes, height, width = maps.shape
    grid = -(-height // patch_size), -(-width // patch_size)
    peaks = maps == maps.amax((2, 3), keepdim=True)
    patches = torch.rand(batch, classes, *grid) < p
    patches = patches.repeat_interleave(patch_size, 2).repeat_interleave(patch_size, 3)[:, :, :height, :width]
    suppressed = (peaks & (torch.rand(batch, classes, 1, 1) < p)) | (patches & ~peaks)
    return torch.where(suppressed, alpha * maps, maps)


if __name__ == "__main__":
    main()
