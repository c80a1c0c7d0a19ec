"""Loss of "Fine-grained Recognition: Accounting for Subtle Differences between Similar Classes", Section 3.2.

With s the scores of an image, l its label and t_k the k-th largest of the scores of the other classes, the negatives:

    Eq. 10    kept negatives: the classes i != l with s_i >= t_k
    Eq. 12    loss = -log  exp(s_l) / (exp(s_l) + sum over the kept negatives of exp(s_i))
    Eq. 14    d loss / d s_c is p_c for a kept negative, p_l - 1 for the label, with p the softmax in Eq. 12

The paper prints Eqs. 10 and 11 over all classes; its text speaks of negatives, and the label is not among them here.
Eq. 14 leaves out the dropped negatives, whose gradient is 0. Eq. 16, by which every gradient is larger than that of
cross entropy, is false as printed: those of kept negatives grow, those of dropped ones fall to 0, and that of the label
is smaller in size.

Sizes: B images in the batch, C classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fglib.checks import check_reduction, check_targets, is_whole, shape
from fglib.precision import at_least_float32


def gradient_boosting_cross_entropy(
    logits: Tensor, target: Tensor, k: int = 15, exact_k: bool = False, reduction: str = "mean"
) -> Tensor:
    """Cross entropy against the k hardest negatives of each image alone (Sun et al. Eq. 12).

    logits: (B, C), any float type; computed in float32 at least. target: (B,) integers, the label of every image. k: at
    least 1. From C - 1 on nothing is dropped and the loss is cross entropy, 0 where there is only one class. Negatives
    that tie at the k-th score are all kept, as Eq. 10 has it; exact_k keeps k of them, which ones being left open.

    Returns a scalar, or (B,) with reduction="none". An image with a score that is NaN has a loss of NaN. ValueError for
    arguments that do not fit; the range of the labels is checked on the CPU only, where it stalls nothing.
    """
    check_reduction(reduction)
    check_targets(logits, target)
    if not is_whole(k):
        raise ValueError(f"k is {k!r}, must be an integer of at least 1 for logits of shape {shape(logits)}")
    logits, target, k = at_least_float32(logits), target.long(), int(k)
    if k >= logits.shape[1] - 1:
        return F.cross_entropy(logits, target, reduction=reduction)
    own = target[:, None]
    negatives = logits.detach().scatter(1, own, -torch.inf)  # (B, C)
    hardest = negatives.topk(k, 1)
    if exact_k:
        dropped = torch.ones_like(negatives, dtype=torch.bool).scatter_(1, hardest.indices, False)
    else:
        dropped = negatives < hardest.values[:, -1:]  # Eq. 10
    kept = logits.masked_fill(dropped.scatter_(1, own, False), -torch.inf)
    return F.cross_entropy(kept, target, reduction=reduction)  # Eq. 12
