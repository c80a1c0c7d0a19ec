"""Losses of "Representation Learning with Fine-grained Patterns" (Xu et al.), Section 3.

Every training image is a class of its own. With f the features, w_j the weight of image j (no bias) and y_i = i:

    Eq. 3                 loss_i = -log  exp(f_i . w_i) / sum_{j in all images}            exp(f_i . w_j)
    Eq. 5, second term    loss_i = -log  exp(f_i . w_i) / sum_{j of the super-class of i}  exp(f_i . w_j)

The paper prints the second sum as over `j = y_i^B`; it is read as over the images with the super-class of i, i
included. Means stand for the paper's sums. The super-class terms of Eqs. 1, 4 and 5 are plain cross entropy.

Sizes: B images in the batch, n images in the training set, d dimensions.
"""

from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from fglib.losses.checks import check_integers, check_reduction, check_rows, check_table, check_tensor, shape
from fglib.precision import at_least_float32, working_dtype


def instance_cross_entropy(features: Tensor, weight: Tensor, index: Tensor, reduction: str = "mean") -> Tensor:
    """Cross entropy of classifying each image among all images, Eq. 3.

    features: (B, d), any float type. weight: (n, d), one row per training image. index: (B,) integers, the row of
    `weight` that belongs to each image. Computed in float32 at least; under autocast the products take its type, the
    softmax does not. Returns a scalar, or (B,) with reduction="none". ValueError for shapes that do not fit; the range
    of the indices is checked on the CPU only, where it stalls nothing.
    """
    features, weight = _check(features, weight, index, reduction)
    logits = features @ weight.T  # (B, n)
    return F.cross_entropy(at_least_float32(logits), index.long(), reduction=reduction)


def instance_cross_entropy_within(
    features: Tensor, weight: Tensor, index: Tensor, superclass: Tensor, reduction: str = "mean"
) -> Tensor:
    """Cross entropy of classifying each image among those of its super-class, Eq. 5, second term.

    superclass: (n,) integers, the super-class of every training image; the rest as in `instance_cross_entropy`.
    An image that is alone in its super-class costs nothing. Every image of the training set has a weight, and
    those of super-classes that the batch lacks get a gradient of zero.
    """
    features, weight = _check(features, weight, index, reduction)
    check_tensor("superclass", superclass)
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
    add them up, which costs more than the softmax over all images. Scores lie with the images of the group down and
    those of the batch across, the shape in which a product with few columns is quick.
    """

    @staticmethod
    def forward(ctx, features, weight, index, superclass):
        order, groups = _groups(index, superclass)
        features, own_row = features[order], index[order]  # the batch by super-class from here on
        loss = features.new_empty(len(features), dtype=working_dtype(features))
        grad_features = torch.empty_like(features)
        ctx.groups = []
        for rows, members in groups:
            weight_of_group = _take(weight, members)  # (m, d)
            own = (
                own_row[rows] - members.start
                if isinstance(members, slice)
                else torch.searchsorted(members, own_row[rows])
            )
            logits = weight_of_group @ features[rows].T  # (m, b)
            log_prob = logits.log_softmax(0, dtype=loss.dtype)
            loss[rows] = -log_prob.gather(0, own[None]).squeeze(0)
            # d loss / d logits is p elsewhere and p - 1 at the own image: minus the sum of the rest, which keeps the
            # digits that p - 1 would lose where p is near 1.
            residual = log_prob.exp_().scatter_(0, own[None], 0.0)
            residual = residual.scatter_(0, own[None], -residual.sum(0, keepdim=True)).to(weight.dtype)
            if ctx.needs_input_grad[0]:  # here, while the weights of the group are in the cache
                grad_features[rows] = residual.T @ weight_of_group
            ctx.groups.append((rows, members, residual))
        ctx.save_for_backward(features, weight, grad_features, order)
        return torch.empty_like(loss).index_copy_(0, order, loss)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_loss):
        features, weight, grad_features, order = ctx.saved_tensors
        scale = grad_loss[order, None].to(features.dtype)  # (B, 1)
        grad_weight = None
        if ctx.needs_input_grad[1]:
            complete = sum(len(residual) for *_, residual in ctx.groups) == len(weight)
            grad_weight = torch.empty_like(weight) if complete else torch.zeros_like(weight)
            scaled = features * scale
            for rows, members, residual in ctx.groups:
                if isinstance(members, slice):
                    torch.mm(residual, scaled[rows], out=grad_weight[members])
                else:
                    grad_weight.index_copy_(0, members, residual @ scaled[rows])
        if ctx.needs_input_grad[0]:
            grad_features = torch.empty_like(grad_features).index_copy_(0, order, grad_features * scale)
        return (grad_features if ctx.needs_input_grad[0] else None), grad_weight, None, None


def _groups(index: Tensor, superclass: Tensor) -> tuple[Tensor, list[tuple[slice, Tensor | slice]]]:
    """The batch in order of super-class, and for each its rows in that order and its members in the training set.

    Members are a slice where they lie side by side, as in a set that was read folder by folder: nothing is copied.
    """
    if superclass.device.type == "cpu" and (superclass[1:] >= superclass[:-1]).all():
        by_class, members = superclass, torch.arange(len(superclass))
    else:
        by_class, members = superclass.sort(stable=True)  # members of one class stay in ascending order
    ordered, order = superclass[index].sort(stable=True)
    start, stop = torch.searchsorted(by_class, ordered), torch.searchsorted(by_class, ordered, right=True)
    bounds = torch.stack([start, stop, members[start], members[stop - 1]], 1).tolist()  # the one wait for a device
    groups, row = [], 0
    for (start, stop, first, last), of_class in groupby(bounds):
        size = len(list(of_class))
        together = last - first == stop - start - 1
        groups.append((slice(row, row + size), slice(first, last + 1) if together else members[start:stop]))
        row += size
    return order, groups


def _take(values: Tensor, rows: Tensor | slice) -> Tensor:
    return values[rows] if isinstance(rows, slice) else values.index_select(0, rows)  # faster than values[rows]


def _check(features: Tensor, weight: Tensor, index: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    """Raises ValueError for arguments that do not fit, and gives features and weight one float type."""
    check_reduction(reduction)
    check_rows("features", features)
    check_table("weight", weight, "features", features)
    check_tensor("index", index)
    if index.shape != features.shape[:1]:
        raise ValueError(f"index has shape {shape(index)}, features {shape(features)}: one index per row of features")
    check_integers("index", index)
    if index.device.type == "cpu" and not 0 <= int(index.min()) <= int(index.max()) < len(weight):
        raise ValueError(
            f"index has shape {shape(index)} and runs from {int(index.min())} to {int(index.max())}, "
            f"beyond the rows of weight {shape(weight)}"
        )
    device = features.device.type
    dtype = working_dtype(features, weight)
    if torch.is_autocast_enabled(device) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)  # as a linear layer would; autocast does not reach a custom backward
    return features.to(dtype), weight.to(dtype)
