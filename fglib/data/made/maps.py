"""Low-resolution maps that look like attention, for the pre-training of an up-sampler (Coarse2Fine, Setup).

An image is a map, grey, with a maximum of 255: a few blobs of random place, size and shape on grain. Its label is the
interpolation that makes the target of the pair; the target itself is computed where it is needed, so that maps of any
number take no space at the size of photographs. The paper says no more than 60,000 pairs and three interpolators.
"""

import math

import torch
from torch import Generator, Tensor

from fglib.data.hierarchy import Hierarchy
from fglib.data.images import ImageSet, Splits
from fglib.errors import ConfigError

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
BLOBS = 3  # at most, in a map


def interpolations(size: int = 12, *, images: int = 60000, test_images: int = 600, seed: int = 0) -> Splits:
    """Maps of size x size; level "interpolation", a third of the maps each.

    images, test_images: pairs in the training and the test split.
    """
    if size < 2 or images < 1 or test_images < 1:
        raise ConfigError(
            f"size must be at least 2 and images and test_images at least 1, got {size}, {images} and {test_images}"
        )
    draw = torch.Generator().manual_seed(seed)
    hierarchy = Hierarchy(("interpolation",), {"interpolation": INTERPOLATIONS})
    splits = []
    for n in (images, test_images):
        maps = (255 * _maps(n, size, draw)).round().to(torch.uint8)
        labels = torch.randperm(n, generator=draw) % len(INTERPOLATIONS)
        grey = maps[:, None].expand(-1, 3, -1, -1).contiguous()
        splits.append(ImageSet(grey, hierarchy, {"interpolation": labels}, hierarchy.levels))
    return splits


def _maps(n: int, size: int, draw: Generator) -> Tensor:
    """(n, size, size) in [0, 1], the maximum of each 1."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=draw)

    place = (torch.arange(size) + 0.5) / size
    y, x = place[None, None, :, None], place[None, None, None, :]
    center_x, center_y = (uniform(0, 1, BLOBS, 1, 1) for _ in range(2))
    width, length = (uniform(0.04, 0.3, BLOBS, 1, 1) for _ in range(2))
    turn = uniform(0, math.pi, BLOBS, 1, 1)
    along = (x - center_x) * turn.cos() + (y - center_y) * turn.sin()
    across = (y - center_y) * turn.cos() - (x - center_x) * turn.sin()
    height = uniform(0, 1, BLOBS, 1, 1) * (uniform(0, 1, BLOBS, 1, 1) < 0.7)
    height[:, 0] = 1  # one blob at least
    blobs = (height * (-(along / length).square() / 2 - (across / width).square() / 2).exp()).sum(1)
    grain = uniform(0, 0.3, 1, 1) * uniform(0, 1, size, size)
    maps = blobs + grain
    return maps / maps.amax((1, 2), keepdim=True)
