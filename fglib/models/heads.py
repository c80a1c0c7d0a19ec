"""Heads on top of a trunk: the projectors, predictors and classifiers of the papers."""

from torch import nn


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
