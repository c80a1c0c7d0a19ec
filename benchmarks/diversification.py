"""What the diversification block (Sun et al., Section 3.1) costs beside global average pooling.

Forward and backward on random class maps, in one process, interleaved, medians. The block is timed alone, its draws
included, and followed by the pooling. The usual recipe builds its masks with boolean tensors and selects by them.

    python benchmarks/diversification.py [--out record.json]
"""

from functools import partial

import torch
from measure import begin, gradients, growth, interleaved
from record import over, report
from torch import Tensor

from fglib.models import DiversificationBlock


def main() -> None:
    args = begin(
        __doc__,
        repeats=31,
        batch=(64, "images"),
        classes=(200, "class maps of an image"),
        side=(14, "height and width of the maps"),
        patch_size=(3, "height and width of a patch"),
    )
    block = DiversificationBlock(patch_size=args.patch_size).train()
    recipe = partial(usual_recipe, patch_size=args.patch_size)

    def pieces(scale: float = 1.0) -> dict:
        maps = torch.randn(int(scale * args.batch), args.classes, args.side, args.side, requires_grad=True)
        of_maps, of_scores = torch.randn(maps.shape), torch.randn(maps.shape[:2])
        return {
            "average pooling": partial(gradients, pool, maps, upstream=of_scores),
            "block": partial(gradients, block, maps, upstream=of_maps),
            "block and pooling": partial(gradients, lambda m: pool(block(m)), maps, upstream=of_scores),
            "usual recipe and pooling": partial(gradients, lambda m: pool(recipe(m)), maps, upstream=of_scores),
        }

    report(
        "diversification",
        interleaved(pieces(), args.repeats),
        ratios=over("average pooling", ("block", "block and pooling", "usual recipe and pooling"), "pooling"),
        work={"batch": args.batch, "classes": args.classes, "side": args.side, "patch_size": args.patch_size},
        out=args.out,
        targets={"block / pooling": "<= 4"},
        notes=("Block and recipe draw at random in their own order, so their results are not compared.",),
        growth=growth("the batch", pieces, args.repeats),
    )


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
