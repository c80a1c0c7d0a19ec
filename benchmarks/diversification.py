"""What the diversification block (Sun et al., Section 3.1) costs beside global average pooling.

Forward and backward on random class maps, in one process, interleaved, medians. The block is timed alone, its draws
included, and followed by the pooling. The usual recipe builds its masks with boolean tensors and selects by them.

    python benchmarks/diversification.py [--out record.json]
"""

from functools import partial

import torch
from measure import begin, growth, interleaved, options
from record import report
from torch import Tensor

from fglib.models import DiversificationBlock


def main() -> None:
    parser = options(__doc__, repeats=31)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--side", type=int, default=14, help="height and width of the maps")
    parser.add_argument("--patch-size", type=int, default=3)
    args = parser.parse_args()
    begin(args)
    block = DiversificationBlock(patch_size=args.patch_size).train()
    recipe = partial(usual_recipe, patch_size=args.patch_size)

    def pieces(scale: float = 1.0) -> dict:
        maps = torch.randn(int(scale * args.batch), args.classes, args.side, args.side, requires_grad=True)
        of_maps, of_scores = torch.randn(maps.shape), torch.randn(maps.shape[:2])
        return {
            "average pooling": partial(step, pool, maps, of_scores),
            "block": partial(step, block, maps, of_maps),
            "block and pooling": partial(step, lambda m: pool(block(m)), maps, of_scores),
            "usual recipe and pooling": partial(step, lambda m: pool(recipe(m)), maps, of_scores),
        }

    seconds = interleaved(pieces(), args.repeats)
    report(
        "diversification",
        seconds,
        ratios={f"{piece} / pooling": (piece, "average pooling") for piece in seconds if piece != "average pooling"},
        work={"batch": args.batch, "classes": args.classes, "side": args.side, "patch_size": args.patch_size},
        out=args.out,
        targets={"block / pooling": "<= 4"},
        notes=("Block and recipe draw at random in their own order, so their results are not compared.",),
        growth=growth("the batch", pieces, args.repeats),
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
