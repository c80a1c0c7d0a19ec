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

from fglib.checks import check_integers, check_reduction, check_rows, check_table, check_tensor, shape
from fglib.losses.kernels import _WithinCrossEntropy
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


def _within(features: Tensor, weight: Tensor, index: Tensor, superclass: Tensor) -> Tensor:
    """Eq. 5, second term, of each image (B,), in plain torch; `_WithinCrossEntropy` runs in its place."""
    logits = features @ weight.T  # (B, n)
    of_others = superclass != superclass[index][:, None]
    return F.cross_entropy(logits.masked_fill(of_others, -torch.inf), index, reduction="none")


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
