"""Losses of "Grafit: Learning fine-grained image representations with coarse labels" (Touvron et al.), Section 3.1.

With g_i the embedding of image i, m_j the memory's embedding of image j and s_ij = cos(g_i, m_j) / sigma:

    Eq. 1     loss = - mean over the ordered pairs of views a != b of  cos(q(g_a), target g_b)
    Eq. 2-3   loss_i = -log sum_{j of the class of i, j != i} p_ij,   p_i = softmax of s_i over all j != i

The second is log(1 + exp(logsumexp over the negatives - logsumexp over the positives)), each with its own maximum. For
a hard image at a small sigma the sum of the p_ij is zero in floating point, and its logarithm would lose the image that
matters most; for an easy image this form keeps the digits that 1 - p loses.

Sizes: B images in the batch, n images in the training set, d dimensions, T views.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fglib.checks import (
    check_integers,
    check_reduction,
    check_rows,
    check_slots,
    check_table,
    check_tensor,
    lengths_of,
    shape,
    unit_vectors,
)
from fglib.precision import working_dtype


def knn_loss(
    embeddings: Tensor,
    memory: Tensor,
    index: Tensor,
    labels: Tensor,
    temperature: float = 0.05,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-probability that a neighbour drawn from the memory has the image's class (Grafit Eqs. 2 and 3).

    embeddings: (B, d), any float type and length. memory: (n, d), one row per training image, taken as constant.
    index: (B,) integers, the row of each image, which is never its own neighbour. labels: (n,) integers, the coarse
    class of every row. Computed in float32 at least, with one table of (B, n) floats.

    An image whose class has no other member costs nothing: 0 with reduction="none", and the mean is over the others
    (0 where there are none). Returns a scalar, or (B,) with reduction="none". ValueError for arguments that do not
    fit, for embeddings of zero length and for indices that repeat or lie outside the memory; what would have to wait
    for the device (lengths and indices) is checked on the CPU only.
    """
    check_reduction(reduction)
    check_rows("embeddings", embeddings)
    check_table("memory", memory, "embeddings", embeddings)
    for name, values, of, rows in (("index", index, "embeddings", embeddings), ("labels", labels, "memory", memory)):
        check_tensor(name, values)
        if values.shape != rows.shape[:1]:
            raise ValueError(f"{name} has shape {shape(values)}, {of} {shape(rows)}: one entry per row of {of}")
        check_integers(name, values)
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, must be positive")
    if index.device.type == "cpu":
        check_slots(index, len(memory), "memory")
    with torch.autocast(embeddings.device.type, enabled=False):
        dtype = working_dtype(embeddings, memory)
        unit, memory = unit_vectors("embeddings", embeddings.to(dtype)), memory.detach().to(dtype)
        scale = 1 / lengths_of("memory", memory)  # (n,)
        loss, counted = _KNNLoss.apply(unit, memory, scale, index.long(), labels, temperature)
    return loss.sum() / counted.sum().clamp(min=1) if reduction == "mean" else loss


def instance_loss(predictions: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Minus the mean cosine between one view's prediction and another view's target (Grafit Eq. 1), in [-1, 1].

    predictions: (T, B, d), q(g(view)) of the online network; targets: (T, B, d), g(view) of the target network, taken
    as constant. The mean is over the T (T - 1) ordered pairs of different views. Returns a scalar, or (B,) with
    reduction="none". ValueError for shapes that do not fit, for fewer than two views and, on the CPU, for zero length.
    """
    check_reduction(reduction)
    check_tensor("predictions", predictions)
    check_tensor("targets", targets)
    floats = predictions.is_floating_point() and targets.is_floating_point()
    if not floats or predictions.ndim != 3 or predictions.numel() == 0 or predictions.shape != targets.shape:
        raise ValueError(
            f"predictions have shape {shape(predictions)} and type {predictions.dtype}, targets {shape(targets)} and "
            f"{targets.dtype}: both must be (T, B, d) floats"
        )
    views = len(predictions)
    if views < 2:
        raise ValueError(f"predictions have shape {shape(predictions)}: the instance loss needs two views or more")
    dtype = working_dtype(predictions, targets)
    q, g = unit_vectors("predictions", predictions.to(dtype)), unit_vectors("targets", targets.detach().to(dtype))
    # all pairs of views less the pairs of a view with itself: linear in T
    pairs = (q.sum(0) * g.sum(0)).sum(1) - (q * g).sum((0, 2))  # (B,)
    loss = -pairs / (views * (views - 1))
    return loss.mean() if reduction == "mean" else loss


class _KNNLoss(torch.autograd.Function):
    """Loss (B,) of unit embeddings and which rows count; the gradient is made in the forward pass, in the same table.

    Automatic differentiation would hold four tables of (B, n) and pass over each several times.
    """

    @staticmethod
    def forward(ctx, unit, memory, scale, index, labels, temperature):
        compute = _class_by_class if unit.device.type == "cpu" else _all_at_once
        loss, counted, grad = compute(unit, memory, scale, index, labels, temperature)
        ctx.save_for_backward(grad)
        ctx.mark_non_differentiable(counted)
        return loss, counted

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_loss, _):
        (grad,) = ctx.saved_tensors
        return grad * grad_loss[:, None], None, None, None, None, None


def _class_by_class(
    unit: Tensor, memory: Tensor, scale: Tensor, index: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss (B,), which rows count (B,) and gradient (B, d), for a processor with a cache.

    The rows of one class are worked on together, which is a piece that fits the cache: their positives are one list of
    columns, and everywhere else loss and gradient are those of one softmax.
    """
    order, groups = _positives(labels[index], labels)
    own = index[order]
    table = (unit[order] / temperature) @ memory.T  # (B, n): first s_ij |m_j|, then the gradient with regard to it
    loss, counted = unit.new_zeros(len(unit)), torch.zeros_like(index, dtype=torch.bool)
    factor = unit.new_zeros(len(unit), 1)  # what the rows of the table are still to be multiplied by
    for rows, members in groups:
        here = order[rows]
        if len(members) == 1:  # nobody else in the class
            continue
        counted[here] = True
        if len(members) == len(memory):  # nobody else in the memory
            continue
        s = table[rows].mul_(scale)  # (b, n), a view: everything below happens in place
        s[torch.arange(len(s), device=s.device), own[rows]] = -torch.inf
        positive = s.index_select(1, members)  # (b, m)
        s.index_fill_(1, members, -torch.inf)
        largest = s.amax(1, keepdim=True)
        negatives = s.sub_(largest).exp_().sum(1, keepdim=True)
        over_positives = positive.logsumexp(1, keepdim=True)
        odds = largest + negatives.log() - over_positives  # logarithm of negatives to positives
        loss[here] = F.softplus(odds).squeeze(1)
        # d loss / d s = sigmoid(odds) times the softmax over the negatives, minus that over the positives
        factor[rows] = odds.sigmoid() / (negatives * temperature)
        s.index_copy_(1, members, positive.sub_(over_positives).exp_().mul_(-negatives)).mul_(scale)
    grad = torch.empty_like(unit)
    grad[order] = (table @ memory).mul_(factor)
    return loss, counted, grad


def _all_at_once(
    unit: Tensor, memory: Tensor, scale: Tensor, index: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for an accelerator: more arithmetic, a table of booleans, and no size that depends on the labels.

    So nothing here makes the processor wait for the device.
    """
    s = ((unit / temperature) @ memory.T).mul_(scale).scatter_(1, index[:, None], -torch.inf)  # (B, n)
    positive = labels == labels[index][:, None]  # (B, n)
    over_positives = s.masked_fill(~positive, -torch.inf).logsumexp(1, keepdim=True)
    over_negatives = s.masked_fill(positive, -torch.inf).logsumexp(1, keepdim=True)
    counted = over_positives != -torch.inf  # true of nan, which must show
    odds = torch.where(counted, over_negatives - over_positives, -torch.inf)
    # the softmax over the negatives and minus that over the positives; where there are none all scores are -inf already
    total = torch.where(positive, over_positives, over_negatives)
    s.sub_(total.masked_fill_(total == -torch.inf, 0.0)).exp_()
    s.mul_(scale).mul_(1 - 2 * positive.to(s.dtype))
    return F.softplus(odds).squeeze(1), counted.squeeze(1), (s @ memory).mul_(odds.sigmoid() / temperature)


def _positives(classes: Tensor, labels: Tensor) -> tuple[Tensor, list[tuple[slice, Tensor]]]:
    """The batch in order of class, and for each class its rows in that order and its members in the memory."""
    by_class, members = labels.sort(stable=True)
    ordered, order = classes.sort(stable=True)
    present, sizes = ordered.unique_consecutive(return_counts=True)
    starts = torch.searchsorted(by_class, present).tolist()
    stops = torch.searchsorted(by_class, present, right=True).tolist()
    groups, row = [], 0
    for start, stop, size in zip(starts, stops, sizes.tolist()):
        groups.append((slice(row, row + size), members[start:stop]))
        row += size
    return order, groups
