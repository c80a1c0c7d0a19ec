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
    loss = _GradientBoosting.apply(logits, target[:, None], k, exact_k)
    return loss.mean() if reduction == "mean" else loss


class _GradientBoosting(torch.autograd.Function):
    """Loss (B,) of Eq. 12; the softmax that gives it is the gradient of Eq. 14 already.

    Where it can, it works on the few columns that may hold kept negatives: a pass over all classes costs a CPU a good
    part of a cross entropy. Masks are floats and are added, as selection by booleans is slow there.
    """

    @staticmethod
    def forward(ctx, logits, own, k, exact_k):
        label = logits.gather(1, own)
        negatives = logits.scatter(1, own, -torch.inf)  # (B, C)
        columns = negatives.topk(k, 1).indices if exact_k else _candidates(negatives, k)
        if columns is not None:
            negatives = negatives.gather(1, columns)  # (B, m)
        dropped = torch.lt(negatives, _kth_largest(negatives, k), out=torch.empty_like(negatives))  # 0.0 or 1.0
        kept = negatives.add_(dropped, alpha=-torch.finfo(logits.dtype).max)
        if columns is None:
            kept.scatter_(1, own, label)
        else:
            kept, columns = torch.cat([label, kept], 1), torch.cat([own, columns], 1)
            own = torch.zeros_like(own)
        p = kept.softmax(1)  # exactly 0 where dropped
        # the largest p is exp(0) / sum, at least 1 / C, so its logarithm is safe where that of the label's p is not
        loss = kept.amax(1, keepdim=True) - p.amax(1, keepdim=True).log() - label
        ctx.save_for_backward(p.scatter_add_(1, own, -torch.ones_like(label)), columns)
        ctx.classes = logits.shape[1]
        return loss.squeeze(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_loss):
        grad, columns = ctx.saved_tensors
        grad = grad * grad_loss[:, None]
        if columns is not None:  # added, as the label's column may be among those of the negatives, with 0
            grad = grad.new_zeros(len(grad), ctx.classes).scatter_add_(1, columns, grad)
        return grad, None, None, None


def _candidates(negatives: Tensor, k: int, depth: int = 8) -> Tensor | None:
    """Columns (B, m) with the k largest of every row of (B, C) and all that tie with the k-th; None for all columns.

    Of `depth` equal runs of columns, place j of each forms group j. The k largest lie in the k groups whose own largest
    are largest; and so do their ties, unless the next group reaches the k-th largest too.
    """
    groups = negatives.shape[1] // depth
    if negatives.device.type != "cpu" or groups < 4 * k:
        return None
    rest = torch.arange(groups * depth, negatives.shape[1]).expand(len(negatives), -1)  # belongs to no group
    largest = negatives[:, : groups * depth].unflatten(1, (depth, groups)).amax(1)
    best = np.argpartition(largest.numpy(), groups - k - 1, axis=1)[:, groups - k - 1 :]
    best = torch.from_numpy(best)  # (B, k + 1), the least of them first
    within = best[:, 1:, None] + groups * torch.arange(depth)  # (B, k, depth)
    columns = torch.cat([within.flatten(1), rest], 1)
    reached = largest.gather(1, best[:, :1]) >= _kth_largest(negatives.gather(1, columns), k)
    return None if reached.any() else columns


def _kth_largest(scores: Tensor, k: int) -> Tensor:
    """The k-th largest of every row of (B, m), as (B, 1)."""
    if scores.device.type != "cpu":
        return scores.topk(k, 1).values[:, -1:]
    # numpy's search is vectorized; torch's own costs more than twice a cross entropy
    place = scores.shape[1] - k
    return torch.from_numpy(np.partition(scores.numpy(), place, axis=1)[:, place : place + 1])
