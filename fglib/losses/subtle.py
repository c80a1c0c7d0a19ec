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

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fglib.losses.checks import check_integers, check_reduction, check_rows, shape


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
    check_rows("logits", logits)
    if target.shape != logits.shape[:1]:
        raise ValueError(f"target has shape {shape(target)}, logits {shape(logits)}: one label per row of logits")
    check_integers("target", target)
    if target.device.type == "cpu" and not 0 <= int(target.min()) <= int(target.max()) < logits.shape[1]:
        raise ValueError(
            f"target has shape {shape(target)} and runs from {int(target.min())} to {int(target.max())}, "
            f"beyond the {logits.shape[1]} classes of logits {shape(logits)}"
        )
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k is {k!r}, must be an integer of at least 1 for logits of shape {shape(logits)}")
    logits, target = logits.to(torch.promote_types(logits.dtype, torch.float32)), target.long()
    if k >= logits.shape[1] - 1:
        return F.cross_entropy(logits, target, reduction=reduction)
    own = target[:, None]
    negatives = logits.detach().scatter(1, own, -torch.inf)  # (B, C)
    hardest = _k_largest(negatives, k) if logits.device.type == "cpu" else None
    if hardest is None and exact_k:
        hardest = negatives.topk(k, 1).indices
    if hardest is None:
        dropped = negatives < negatives.topk(k, 1).values[:, -1:]
        return F.cross_entropy(
            logits.masked_fill(dropped.scatter_(1, own, False), -torch.inf), target, reduction=reduction
        )
    kept = logits.gather(1, torch.cat([own, hardest], 1))  # (B, 1 + k), the label first
    return F.cross_entropy(kept, torch.zeros_like(target), reduction=reduction)


def _k_largest(scores: Tensor, k: int) -> Tensor | None:
    """Columns (B, k) of the k largest of every row of (B, C), on the CPU; None if others tie with a k-th largest.

    Much faster than topk, which alone costs more than a cross entropy. Of about sqrt(C / k) equal runs of columns, place
    j of each forms group j: the k largest lie in the k groups whose own largest are largest.
    """
    classes = scores.shape[1]
    runs = math.isqrt(classes // k)
    if runs < 6:  # few columns would be saved
        columns = _k_largest_by_sorting(scores.numpy(), k)
        return None if columns is None else torch.from_numpy(columns)
    groups = classes // runs
    best = _k_largest_by_sorting(scores[:, : runs * groups].unflatten(1, (runs, groups)).amax(1).numpy(), k)
    if best is None:
        return None
    within = best[:, None] + groups * np.arange(runs)[:, None]  # (B, runs, k)
    rest = np.arange(runs * groups, classes)  # belong to no group
    columns = np.concatenate([within.reshape(len(best), -1), np.broadcast_to(rest, (len(best), len(rest)))], 1)
    columns = torch.from_numpy(columns)
    places = _k_largest_by_sorting(scores.gather(1, columns).numpy(), k)
    return None if places is None else columns.gather(1, torch.from_numpy(places))


def _k_largest_by_sorting(scores: np.ndarray, k: int) -> np.ndarray | None:
    """`_k_largest` of a few columns. numpy's sort of values is vectorized, unlike its and torch's selection of columns."""
    batch, columns = scores.shape
    kth = np.sort(scores, axis=1)[:, columns - k, None]
    found = np.flatnonzero(~(scores < kth))  # k in each row, and more where there are ties; NaN counts as largest
    return found.reshape(batch, k) - columns * np.arange(batch)[:, None] if len(found) == batch * k else None
