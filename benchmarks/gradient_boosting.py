"""What the gradient-boosting cross entropy (Sun et al. Eq. 12) costs beside cross entropy.

Forward and backward on random scores, in one process, interleaved, medians. The usual recipe takes the largest scores
of the negatives with topk, masks the rest with minus infinity and leaves the gradient to automatic differentiation.

    python benchmarks/gradient_boosting.py [--out record.json]
"""

import argparse
from functools import partial

import torch
import torch.nn.functional as F
from record import interleaved, report
from torch import Tensor

from fglib.losses import gradient_boosting_cross_entropy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--k", type=int, default=15, help="negatives that are kept")
    parser.add_argument("--repeats", type=int, default=51)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", help="write the record to this file, JSON")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    logits = torch.randn(args.batch, args.classes, requires_grad=True)
    target = torch.randint(args.classes, (args.batch,))
    losses = {
        "cross entropy": F.cross_entropy,
        "gradient boosting": partial(gradient_boosting_cross_entropy, k=args.k),
        "exact k": partial(gradient_boosting_cross_entropy, k=args.k, exact_k=True),
        "usual recipe": partial(usual_recipe, k=args.k),
    }
    seconds = interleaved({name: partial(step, loss, logits, target) for name, loss in losses.items()}, args.repeats)
    report(
        "gradient_boosting",
        seconds,
        ratios={
            f"{name} / cross entropy": (name, "cross entropy")
            for name in ("gradient boosting", "exact k", "usual recipe")
        },
        work={"batch": args.batch, "classes": args.classes, "k": args.k},
        out=args.out,
    )


def step(loss, logits: Tensor, target: Tensor) -> None:
    torch.autograd.grad(loss(logits, target), logits)


def usual_recipe(logits: Tensor, target: Tensor, k: int) -> Tensor:
    """Threshold and mask, as they are mostly written; ties at the threshold are kept."""
    own = F.one_hot(target, logits.shape[1]).bool()
    threshold = logits.masked_fill(own, -torch.inf).topk(k, 1).values[:, -1:]
    return F.cross_entropy(logits.masked_fill((logits < threshold) & ~own, -torch.inf), target)


if __name__ == "__main__":
    main()
