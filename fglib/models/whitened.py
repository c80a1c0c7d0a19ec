"""A small, wide network for 32-pixel images, made to be trained from scratch in minutes on a CPU.

A first layer whitens the patches of the training images: its filters are the eigenvectors of their covariance, scaled
to variance one, and their negatives, and are not trained (Coates, Ng and Lee 2011; used for fast CIFAR training by
Page 2019 and Jordan 2024). Three blocks of two convolutions follow, which pool at once: most of the work is done on few
places with many channels.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from fglib.models.trunk import Trunk

PATCH = 2  # pixels on a side of the patches that are whitened
NOISE = 5e-4  # added to the variance of every direction: flat patches have directions without any


class WhitenedTrunk(Trunk):
    """Whitening, three blocks of `widths` channels, and global max pooling: features (B, widths[-1])."""

    def __init__(self, widths: tuple[int, ...] = (32, 128, 128)) -> None:
        directions = 3 * PATCH**2
        first = nn.Conv2d(3, 2 * directions, PATCH)
        first.weight.requires_grad_(False)
        nn.init.zeros_(first.bias)
        layers, channels = [("stem", nn.Sequential(first, nn.GELU()))], 2 * directions
        for i, width in enumerate(widths, start=1):
            layers.append((f"layer{i}", _block(channels, width)))
            channels = width
        super().__init__(nn.Sequential(OrderedDict(layers)), channels)

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Set the filters of the first layer to whiten the patches of these images."""
        pixels = (images - self.mean) / self.std
        patches = pixels.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # (n, 3, h, w, PATCH, PATCH)
        patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1).double()  # (patches, 3 PATCH^2)
        variances, directions = torch.linalg.eigh(torch.cov(patches.T, correction=0))
        filters = (directions / (variances + NOISE).sqrt()).T.reshape(-1, 3, PATCH, PATCH)
        self.body.stem[0].weight.copy_(torch.cat([filters, -filters]))

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, dim) of images (B, 3, H, W) in [0, 1]: the largest value of each map."""
        return self.maps(images).amax((2, 3))


def _block(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(width),
        nn.GELU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.GELU(),
    )
