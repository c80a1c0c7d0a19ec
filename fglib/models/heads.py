"""Heads on top of a trunk: the projectors, predictors and classifiers of the papers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fglib.checks import check_maps, misfit, shape
from fglib.precision import working_dtype


def class_activation_maps(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear classifier applied at every location (CAM; Zhou et al., CVPR 2016).

    features: (B, N, H', W') floats, what the network pools; weight: (C, N) and bias: (C,) of its classifier. Returns
    (B, C, H', W'), in float32 at least: with global average pooling the mean of map c is the logit of class c.
    ValueError for shapes that do not fit.
    """
    check_maps("features", features)
    if weight.ndim != 2 or weight.shape[1] != features.shape[1] or not weight.is_floating_point():
        raise misfit("weight", weight, "(C, N) floats", features=features)
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias has shape {shape(bias)}, weight {shape(weight)}: one entry per row of weight")
    dtype = working_dtype(features, weight)
    bias = None if bias is None else bias.to(dtype)
    with torch.autocast(features.device.type, enabled=False):  # or the maps would be rounded, and their peaks tie
        return F.conv2d(features.to(dtype), weight.to(dtype)[:, :, None, None], bias)


class ClassMapHead(nn.Module):
    """A linear classifier at every place instead of after the pooling: a 1x1 convolution with the same weights.

    linear: the (N, C) classifier of any network, whose weights it takes over, so that no parameter is added. block:
    what the class maps go through before they are pooled, such as a `DiversificationBlock`. It maps feature maps
    (B, N, H, W) to scores (B, C): without a block those of the linear head, as pooling and classifier commute. In place
    of a network's pooling, with nothing in place of its classifier, it makes the network of Sun et al., Fig. 2.
    """

    def __init__(self, linear: nn.Linear, block: nn.Module | None = None) -> None:
        super().__init__()
        self.linear, self.block = linear, block

    def maps(self, features: Tensor) -> Tensor:
        """Class activation maps (B, C, H, W), float32 at least, of feature maps (B, N, H, W); without the block."""
        return class_activation_maps(features, self.linear.weight, self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        if self.block is not None:
            return self.block(self.maps(features)).mean((2, 3))
        with torch.autocast(features.device.type, enabled=False):  # as for the maps: rounded scores would tie
            return self.linear(features.mean((2, 3), dtype=self.linear.weight.dtype))


def linear_projector(dim: int, out: int = 128) -> nn.Linear:
    """(B, dim) -> (B, out): the projector of SNCA and Grafit FC. 128 gives ResNet-50 the paper's 23.8M parameters."""
    return nn.Linear(dim, out, bias=False)


def mlp(dim: int, out: int = 256, hidden: int | None = None) -> nn.Sequential:
    """(B, dim) -> (B, out) over a hidden layer, twice as wide as the input unless given: BYOL's projector.

    On ResNet-50 that is 2,048 -> 4,096 -> 256 and, without biases and with a batch normalization that has no scale
    and shift of its own, the paper's 32.9M parameters in all (Grafit, Table 5).
    """
    hidden = hidden or 2 * dim
    return nn.Sequential(
        nn.Linear(dim, hidden, bias=False),
        nn.BatchNorm1d(hidden, affine=False),
        nn.ReLU(),
        nn.Linear(hidden, out, bias=False),
    )


def mlp_classifier(dim: int, classes: int) -> nn.Sequential:
    """(B, dim) -> (B, classes): two linear layers around a batch normalization and a ReLU (Grafit, Section 4.6)."""
    return nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, classes))
