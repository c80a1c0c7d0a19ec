"""What every trunk is: a convolutional network without its classifier.

A trunk takes images (B, 3, H, W) in [0, 1], normalizes them by its own channel statistics, and gives the
last feature map (`maps`) or its spatial mean (`forward`), the f(x) of the papers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fglib.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Trunk(nn.Module):
    """Normalization, a convolutional body (B, 3, H, W) -> (B, dim, h, w), and global average pooling."""

    def __init__(
        self, body: nn.Module, dim: int, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
    ) -> None:
        super().__init__()
        self.body, self.dim = body, dim
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def maps(self, images: Tensor) -> Tensor:
        """Last feature map (B, dim, h, w) of images (B, 3, H, W) in [0, 1]; ConfigError where they are too small."""
        try:
            return self.body((images - self.mean) / self.std)
        except RuntimeError as e:
            if "too small" not in str(e) and "greater than actual input size" not in str(e):
                raise
            height, width = images.shape[-2:]
            raise ConfigError(
                f"images of {height} x {width} pixels are too small for this network: nothing is left of them before "
                "its last layer; set data.size higher or model.layer to an earlier one"
            ) from e

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, dim) of images (B, 3, H, W) in [0, 1]: the spatial mean of the last feature map."""
        return self.maps(images).mean((2, 3))
