"""Bilinear attention pooling, the initialization of its weights, and the centers of its features (Coarse2Fine).

An attention map is one output channel of a 1x1 convolution on the features; each pools them into one row of the feature
matrix, intended to describe one part of the object.

Sizes: B images, C classes, N channels of H x W features, M attention maps.
"""

import torch
from torch import Tensor

from fglib.checks import check_centers, check_finite, check_maps, misfit, shape
from fglib.precision import at_least_float32, working_dtype


def bilinear_attention_pool(features: Tensor, attention: Tensor, pool: str = "mean") -> Tensor:
    """Products of every attention map with every channel, pooled (Coarse2Fine Eq. 1).

    features: (B, N, H, W) floats; attention: (B, M, H, W). pool="mean" takes the mean over the locations, (B, M, N):
    row m holds the channels as map m weighs them. pool="channels" is what the paper's text describes, the mean over the
    channels at each location, (B, M, H * W): every map times one and the same map of mean features. ValueError for
    shapes that do not fit.
    """
    if pool not in ("mean", "channels"):
        raise ValueError(f"pool is {pool!r}, must be 'mean' or 'channels'")
    check_maps("features", features)
    check_maps("attention", attention)
    if features.shape[:1] + features.shape[2:] != attention.shape[:1] + attention.shape[2:]:
        raise ValueError(
            f"attention has shape {shape(attention)}, features {shape(features)}: images and spatial size must be equal"
        )
    dtype = torch.promote_types(features.dtype, attention.dtype)
    features, attention = features.flatten(2).to(dtype), attention.flatten(2).to(dtype)  # (B, N, HW), (B, M, HW)
    if pool == "channels":
        return attention * features.mean(1, keepdim=True)  # (B, M, HW)
    # half of the division comes before the sum, which thus stays in the range of float16
    root = features.shape[2] ** -0.5
    return (attention * root) @ features.transpose(1, 2) * root  # (B, M, N)


@torch.no_grad()
def orthogonal_rows_(weight: Tensor) -> Tensor:
    """weight <- V^T of its economy SVD U S V^T: M orthonormal rows that span what the rows spanned, in place.

    weight: (M, N), or (M, N, 1, 1) of a 1x1 convolution, finite floats (Coarse2Fine, "Orthogonal initialization").
    Rows that depend on each other are replaced too. Computed in float32 at least. Returns the weight. ValueError for
    another shape and for M > N, since N channels have only N directions.
    """
    kernel = weight.shape[2:]
    if weight.ndim not in (2, 4) or kernel.numel() != 1 or weight.numel() == 0 or not weight.is_floating_point():
        raise misfit("weight", weight, "(M, N) or (M, N, 1, 1) floats")
    if len(weight) > weight.shape[1]:
        raise ValueError(
            f"weight has shape {shape(weight)}: {len(weight)} rows cannot be orthogonal, as only {weight.shape[1]} "
            "directions exist"
        )
    matrix = at_least_float32(weight.flatten(1))
    if not matrix.isfinite().all():
        raise ValueError(f"weight of shape {shape(weight)} has entries that are not finite")
    rows = torch.linalg.svd(matrix, full_matrices=False).Vh  # (M, N)
    return weight.copy_(rows.view(weight.shape))


@torch.no_grad()
def update_centers_(centers: Tensor, features: Tensor, labels: Tensor, momentum: float = 0.05) -> Tensor:
    """c <- (1 - momentum) c + momentum f for every class of the batch, f the class's mean, in place (Eq. 3).

    centers: (C, M, N) floats, zero at the start; features: (B, M, N); labels: (B,) integers. momentum: in [0, 1], the
    weight of the new. Classes that the batch lacks stay as they are. Returns the centers. ValueError for arguments that
    do not fit; the range of the labels, and whether the features are finite, is checked on the CPU only.
    """
    check_centers(features, labels, centers)
    check_finite("features", features)
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum is {momentum}, must be in [0, 1]")
    labels = labels.long()
    dtype = working_dtype(centers)
    ones = torch.ones_like(labels, dtype=dtype)
    counts = ones.new_zeros(len(centers)).index_add_(0, labels, ones)[labels]  # (B,), members of each image's class
    # c + momentum mean (f - c): a sum over the members, so each class moves once however many there are
    step = (features.to(dtype) - centers[labels]) * (momentum / counts)[:, None, None]
    return centers.index_add_(0, labels, step.to(centers.dtype))
