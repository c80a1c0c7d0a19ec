"""Losses of "Representation Learning with Fine-grained Patterns" (Xu et al.), Section 3.

Every training image is a class of its own. With f the features, w_j the weight of image j (no bias) and y_i = i:

    Eq. 3                 loss_i = -log  exp(f_i . w_i) / sum_{j in all images}            exp(f_i . w_j)
    Eq. 5, second term    loss_i = -log  exp(f_i . w_i) / sum_{j of the super-class of i}  exp(f_i . w_j)

The paper prints the second sum as over `j = y_i^B`; it is read as over the images with the super-class of i, i
included. Means stand for the paper's sums. The super-class terms of Eqs. 1, 4 and 5 are plain cross entropy.

Sizes: B images in the batch, n images in the training set, d dimensions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fglib.losses.checks import check_integers, check_reduction, check_rows, check_table, shape


def instance_cross_entropy(features: Tensor, weight: Tensor, index: Tensor, reduction: str = "mean") -> Tensor:
    """Cross entropy of telling each image from all others, Eq. 3.

    features: (B, d), any float type. weight: (n, d), one row per training image. index: (B,) integers, the row of
    `weight` that belongs to each image. The softmax is taken in float32 at least. Returns a scalar, or (B,) with
    reduction="none". ValueError for shapes that do not fit; the range of the indices is checked on the CPU only,
    where it stalls nothing.
    """
    features, weight = _check(features, weight, index, reduction)
    logits = features @ weight.T  # (B, n)
    return F.cross_entropy(logits.to(_softmax_dtype(logits)), index.long(), reduction=reduction)


def instance_cross_entropy_within(
    features: Tensor, weight: Tensor, index: Tensor, superclass: Tensor, reduction: str = "mean"
) -> Tensor:
    """Cross entropy of telling each image from the others of its super-class, Eq. 5, second term.

    superclass: (n,) integers, the super-class of every training image; the rest as in `instance_cross_entropy`.
    An image that is alone in its super-class costs nothing. Every image of the training set has a weight, and
    those of super-classes that the batch lacks get a gradient of zero.
    """
    features, weight = _check(features, weight, index, reduction)
    if superclass.shape != weight.shape[:1]:
        raise ValueError(
            f"superclass has shape {shape(superclass)}, weight {shape(weight)}: one entry per row of weight"
        )
    check_integers("superclass", superclass)
    loss = _WithinCrossEntropy.apply(features, weight, index.long(), superclass)
    return loss.mean() if reduction == "mean" else loss


class _WithinCrossEntropy(torch.autograd.Function):
    """One small softmax per super-class, with its gradient in closed form.

    Automatic differentiation of the same loop would build a gradient of full size (n, d) for every super-class and
    add them up, which costs more than the softmax over all images.
    """

    @staticmethod
    def forward(ctx, features, weight, index, superclass):
        loss = features.new_empty(len(features), dtype=_softmax_dtype(features))
        grad_features = torch.empty_like(features)
        ctx.groups = []
        for rows, members, own in _groups(index, superclass):
            weight_of_group = _take(weight, members)  # (m, d)
            logits = features[rows] @ weight_of_group.T  # (b, m)
            log_prob = logits.log_softmax(1, dtype=loss.dtype)
            loss[rows] = -log_prob.gather(1, own).squeeze(1)
            # d loss / d logits is p elsewhere and p - 1 at the own image: minus the sum of the rest, which keeps the
            # digits that p - 1 would lose where p is near 1.
            residual = log_prob.exp_().scatter_(1, own, 0.0)
            residual = residual.scatter_(1, own, -residual.sum(1, keepdim=True)).to(weight.dtype)
            if ctx.needs_input_grad[0]:  # here, while the weights of the group are in the cache
                grad_features[rows] = residual @ weight_of_group
            ctx.groups.append((rows, members, residual))
        ctx.save_for_backward(features, weight, grad_features)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_loss):
        features, weight, grad_features = ctx.saved_tensors
        scale = grad_loss[:, None].to(features.dtype)  # (B, 1)
        grad_weight = None
        if ctx.needs_input_grad[1]:
            complete = sum(residual.shape[1] for *_, residual in ctx.groups) == len(weight)
            grad_weight = torch.empty_like(weight) if complete else torch.zeros_like(weight)
            scaled = features * scale
            for rows, members, residual in ctx.groups:
                _put(grad_weight, members, residual.T @ scaled[rows])
        return (grad_features * scale if ctx.needs_input_grad[0] else None), grad_weight, None, None


def _groups(index: Tensor, superclass: Tensor) -> list[tuple[Tensor, Tensor | slice, Tensor]]:
    """The batch by super-class: rows (b,) of the batch, the m members in the training set, own place (b, 1) there.

    Members are a slice where they lie side by side, as in a set that was read folder by folder: nothing is copied.
    """
    by_class, members = superclass.sort(stable=True)  # members of one class stay in ascending order
    classes, which = superclass[index].unique(return_inverse=True)
    starts = torch.searchsorted(by_class, classes).tolist()
    stops = torch.searchsorted(by_class, classes, right=True).tolist()
    groups = []
    for k, (start, stop) in enumerate(zip(starts, stops)):
        rows = (which == k).nonzero().squeeze(1)
        chosen = members[start:stop]
        own = torch.searchsorted(chosen, index[rows])[:, None]
        first, last = int(chosen[0]), int(chosen[-1])
        groups.append((rows, slice(first, last + 1) if last - first == stop - start - 1 else chosen, own))
    return groups


def _take(values: Tensor, rows: Tensor | slice) -> Tensor:
    return values[rows] if isinstance(rows, slice) else values.index_select(0, rows)  # faster than values[rows]


def _put(values: Tensor, rows: Tensor | slice, new: Tensor) -> None:
    if isinstance(rows, slice):
        values[rows] = new
    else:
        values.index_copy_(0, rows, new)


def _check(features: Tensor, weight: Tensor, index: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    """Raises ValueError for arguments that do not fit, and gives features and weight one float type."""
    check_reduction(reduction)
    check_rows("features", features)
    check_table("weight", weight, "features", features)
    if index.shape != features.shape[:1]:
        raise ValueError(f"index has shape {shape(index)}, features {shape(features)}: one index per row of features")
    check_integers("index", index)
    if index.device.type == "cpu" and not 0 <= int(index.min()) <= int(index.max()) < len(weight):
        raise ValueError(
            f"index has shape {shape(index)} and runs from {int(index.min())} to {int(index.max())}, "
            f"beyond the rows of weight {shape(weight)}"
        )
    device = features.device.type
    dtype = torch.promote_types(features.dtype, weight.dtype)
    if torch.is_autocast_enabled(device) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)  # as a linear layer would; autocast does not reach a custom backward
    return features.to(dtype), weight.to(dtype)


def _softmax_dtype(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)
