"""What the gradient-boosting cross entropy (Sun et al. Eq. 12) costs beside cross entropy.

Forward and backward on random scores, in one process, interleaved, medians. The usual recipe takes the largest scores
of the negatives with topk, masks the rest with minus infinity and leaves the gradient to automatic differentiation.

    python benchmarks/gradient_boosting.py [--out record.json]
"""

from functools import partial

import torch
import torch.nn.functional as F
from measure import begin, gradients, growth, interleaved
from record import over, report, same
from torch import Tensor

from fglib.losses import gradient_boosting_cross_entropy


def main() -> None:
    args = begin(
        __doc__,
        repeats=51,
        batch=(256, "images"),
        classes=(1000, "classes C"),
        k=(15, "negatives that are kept"),
    )
    losses = {
        "cross entropy": F.cross_entropy,
        "gradient boosting": partial(gradient_boosting_cross_entropy, k=args.k),
        "exact k": partial(gradient_boosting_cross_entropy, k=args.k, exact_k=True),
        "usual recipe": partial(usual_recipe, k=args.k),
    }

    def pieces(scale: float = 1.0) -> dict:
        batch = int(scale * args.batch)
        logits, target = torch.randn(batch, args.classes, requires_grad=True), torch.randint(args.classes, (batch,))
        return {name: partial(gradients, loss, logits, target) for name, loss in losses.items()}

    given = pieces()
    report(
        "gradient_boosting",
        interleaved(given, args.repeats),
        ratios=over("cross entropy", ("gradient boosting", "exact k", "usual recipe")),
        work={"batch": args.batch, "classes": args.classes, "k": args.k},
        out=args.out,
        targets={"gradient boosting / cross entropy": "<= 1.5"},
        agreement=same(
            ("loss of the usual recipe", "gradient of the usual recipe"),
            given["gradient boosting"](),
            given["usual recipe"](),
        ),
        growth=growth("the batch", pieces, args.repeats),
    )


def usual_recipe(logits: Tensor, target: Tensor, k: int) -> Tensor:
    """Threshold and mask, as they are mostly written; ties at the threshold are kept."""
    own = F.one_hot(target, logits.shape[1]).bool()
    threshold = logits.masked_fill(own, -torch.inf).topk(k, 1).values[:, -1:]
    return F.cross_entropy(logits.masked_fill((logits < threshold) & ~own, -torch.inf), target)


if __name__ == "__main__":
    main()
