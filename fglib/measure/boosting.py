"""What the gradient-boosting cross entropy does to gradients ("Subtle Differences", Eqs. 13 to 16)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fglib.losses import gradient_boosting_cross_entropy

KINDS = ("label", "kept", "dropped")  # of the classes, seen from an image


def gradients(logits: Tensor, target: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of both losses with respect to the scores, and what each class is.

    logits: (B, C) floats, target: (B,) integers. Returns the gradients (B, C) of cross entropy (Eq. 13) and of the
    gradient-boosting cross entropy (Eq. 14), each image's own, and indices (B, C) into KINDS.
    """
    scores = logits.detach().requires_grad_()
    with torch.enable_grad():
        (plain,) = torch.autograd.grad(F.cross_entropy(scores, target, reduction="sum"), scores)
        loss = gradient_boosting_cross_entropy(scores, target, k, reduction="none").sum()
        (boosted,) = torch.autograd.grad(loss, scores)
    negatives = logits.scatter(1, target[:, None], -torch.inf)
    threshold = negatives.topk(min(k, logits.shape[1] - 1), 1).values[:, -1:]
    kind = torch.where(negatives >= threshold, KINDS.index("kept"), KINDS.index("dropped"))
    return plain, boosted, kind.scatter(1, target[:, None], KINDS.index("label"))


def gradient_signs(draws: int = 200, classes: int = 100, k: int = 15, seed: int = 0) -> dict[str, float]:
    """What Eq. 16 says of the two gradients, on random scores (standard normal, float64).

    Returns over all draws: kept_gain, the least ratio of a kept negative's gradient to that under cross entropy;
    dropped, the largest size of a dropped negative's gradient; label_size, the largest ratio of the label's; row_sum,
    the largest sum over the classes of an image; equal, the largest difference of the two losses at k = C - 1.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(draws, classes, dtype=torch.float64, generator=generator)
    target = torch.randint(classes, (draws,), generator=generator)
    plain, boosted, kind = gradients(logits, target, k)
    label, kept, dropped = (kind == i for i in range(len(KINDS)))
    whole = gradient_boosting_cross_entropy(logits, target, classes - 1) - F.cross_entropy(logits, target)
    return {
        "kept_gain": (boosted / plain)[kept].min().item(),
        "dropped": boosted[dropped].abs().max().item(),
        "label_size": (boosted / plain)[label].max().item(),
        "row_sum": boosted.sum(1).abs().max().item(),
        "equal": whole.abs().item(),
    }
