"""Losses that "Subtle Differences" compares its own with: each is cross entropy with a regularizer.

    maximum entropy          Dubey, Gupta, Raskar, Naik, "Maximum-entropy fine grained classification", NeurIPS 2018
    pairwise confusion       Dubey et al., "Pairwise confusion for fine-grained visual classification", ECCV 2018
    large-margin Gaussian    Wan, Zhong, Li, Chen, "Rethinking feature distribution for loss functions in image
    mixture                  classification", CVPR 2018

The center loss is `fglib.losses.center_loss`, label smoothing an argument of torch's cross entropy.

Sizes: B images in the batch, C classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fglib.checks import check_reduction, check_targets, shape
from fglib.precision import at_least_float32


def maximum_entropy_loss(logits: Tensor, target: Tensor, weight: float = 1.0, reduction: str = "mean") -> Tensor:
    """Cross entropy minus `weight` times the entropy of the prediction, which penalizes overconfidence.

    logits: (B, C) floats, computed in float32 at least; target: (B,) integers. Returns a scalar, negative where the
    entropy outweighs the rest, or (B,) with reduction="none". ValueError for arguments that do not fit.
    """
    check_reduction(reduction)
    check_targets(logits, target)
    logp = _log_softmax(logits)
    # a class of probability 0 counts nothing: xlogy knows that too, but its gradient there is NaN
    negative_entropy = (logp.exp() * logp.clamp(min=torch.finfo(logp.dtype).min)).sum(1)
    loss = F.nll_loss(logp, target.long(), reduction="none") + weight * negative_entropy
    return loss.mean() if reduction == "mean" else loss


def pairwise_confusion_loss(logits: Tensor, target: Tensor, weight: float = 1.0, reduction: str = "mean") -> Tensor:
    """Cross entropy and `weight` times the squared distance between the predictions of two images of other classes.

    logits: (B, C) floats, computed in float32 at least; target: (B,) integers. The first image of the batch is paired
    with the last, the second with the last but one, and so on: in several views of the same images, one after the
    other, an image does not meet itself. A pair of one class has no such term. Returns a scalar, or (B,) with
    reduction="none", where both images of a pair carry its term. ValueError for arguments that do not fit.
    """
    check_reduction(reduction)
    check_targets(logits, target)
    logp = _log_softmax(logits)
    p = logp.exp()
    confusion = (p - p.flip(0)).square().sum(1) * (target != target.flip(0))
    loss = F.nll_loss(logp, target.long(), reduction="none") + weight * confusion
    return loss.mean() if reduction == "mean" else loss


def gaussian_mixture_loss(
    distances: Tensor, target: Tensor, margin: float = 0.1, likelihood: float = 0.1, reduction: str = "mean"
) -> Tensor:
    """Large-margin Gaussian mixture: cross entropy of distances to class means, and the distance to the own mean.

    distances: (B, C) floats, half the squared distance of features to the mean of every class, of Gaussians with unit
    covariance; computed in float32 at least. target: (B,) integers. The distance to the own mean is enlarged by the
    factor 1 + margin before the softmax of -distances; `likelihood` weighs the distance itself. Returns a scalar, or
    (B,) with reduction="none". ValueError for arguments that do not fit.
    """
    check_reduction(reduction)
    check_targets(distances, target, "distances")
    if margin < 0 or likelihood < 0:
        raise ValueError(
            f"margin is {margin} and likelihood {likelihood} for distances of shape {shape(distances)}: neither may "
            "be negative"
        )
    distances, target = at_least_float32(distances), target.long()
    own = distances.gather(1, target[:, None])
    enlarged = distances.scatter_add(1, target[:, None], margin * own)
    loss = F.cross_entropy(-enlarged, target, reduction="none") + likelihood * own[:, 0]
    return loss.mean() if reduction == "mean" else loss


def _log_softmax(logits: Tensor) -> Tensor:
    return at_least_float32(logits).log_softmax(1)
