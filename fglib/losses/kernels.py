"""Losses with their gradient written by hand, where that is measurably worth it. Each loss file shows the equation.

Eq. 5 of "Representation Learning with Fine-grained Patterns", relative to the softmax over all images, forward and
backward on one thread (d 512, batch 256, 20 super-classes, in random order):

                                                              n 50,000        n 10,000
    `_WithinCrossEntropy`                                     0.24 to 0.29    0.28
    weights sorted once, split, F.cross_entropy in a loop     0.35 to 0.37    0.37 to 0.40
    one batched product of padded groups                      0.40 to 0.43
    the masked softmax over all images (`patterns._within`)   1.2

Where the images of a super-class lie side by side the kernel takes 0.16, the loop over split weights 0.23 to 0.24.
`benchmarks/instance_head.py` has both loops beside the kernel.
"""

from itertools import groupby

import torch
from torch import Tensor

from fglib.precision import working_dtype


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
