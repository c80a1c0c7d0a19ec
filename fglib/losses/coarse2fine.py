"""Loss of "Coarse2Fine: A Two-stage Training Method for Fine-grained Visual Classification" (Eshratifar et al.).

With f_i the feature matrix of image i, one row per attention map, and c_y the center of class y, a buffer:

    Eq. 2     loss_i = || f_i - c_{y_i} ||^2,   the squared distance summed over all entries of the matrix

The paper prints a mean over the classes with one f per class; it is read as a mean over the images of the batch. Eq. 3,
the moving average that makes the centers, is `fglib.models.update_centers_`.

Sizes: B images in the batch, C classes, M attention maps, N channels.
"""

import torch.nn.functional as F
from torch import Tensor

from fglib.checks import check_centers, check_maps, check_reduction
from fglib.precision import at_least_float32, working_dtype


def center_loss(features: Tensor, labels: Tensor, centers: Tensor, reduction: str = "mean") -> Tensor:
    """Squared distance of each image's features to the center of its class (Coarse2Fine Eq. 2).

    features: (B, M, N) floats; bounded ones, such as of unit length, or the loss grows with their scale. labels: (B,)
    integers, the class of every image. centers: (C, M, N), taken as constant. Computed in float32 at least. Returns a
    scalar, or (B,) with reduction="none". ValueError for arguments that do not fit; the range of the labels is checked
    on the CPU only, where it stalls nothing.
    """
    check_reduction(reduction)
    check_centers(features, labels, centers)
    dtype = working_dtype(features, centers)
    own = centers.detach()[labels.long()].to(dtype)  # (B, M, N)
    loss = (features.to(dtype) - own).square().sum((1, 2))
    return loss.mean() if reduction == "mean" else loss


def map_overlap(attention: Tensor, p: float = 1) -> Tensor:
    """Mean of |cosine|^p over the pairs of an image's attention maps, (B,): 0 where no two share a place.

    attention: (B, M, h, w). A map that is zero everywhere overlaps with none; with a single map there is no pair, and
    the result is 0. The dot products of the paper ("Orthogonal initialization") are taken of maps at unit length, or
    they would shrink with the maps.
    """
    check_maps("attention", attention)
    maps = F.normalize(at_least_float32(attention.flatten(2)), dim=2)  # (B, M, HW)
    m = maps.shape[1]
    dots = (maps @ maps.transpose(1, 2)).abs()
    pairs = dots.triu(1) if p == 1 else dots.triu(1).pow(p)
    return pairs.sum((1, 2)) / max(1, m * (m - 1) / 2)


def overlap_penalty(attention: Tensor, norm: str) -> Tensor:
    """The L1 or L2 penalty on the overlap of attention maps (B, M, h, w), mean over images and pairs."""
    if norm not in ("l1", "l2"):
        raise ValueError(f"norm is {norm!r}, must be 'l1' or 'l2'")
    return map_overlap(attention, 1 if norm == "l1" else 2).mean()
