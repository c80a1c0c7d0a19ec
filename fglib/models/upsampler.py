"""From attention maps to the pixels of the image: bilinear, or learned by transposed convolutions (Coarse2Fine)."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from fglib.checks import check_maps, is_whole


def bilinear_upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, M, h, w) at another size (H, W): every pixel is a mean of up to four neighbours, corners not aligned."""
    check_maps("maps", maps)
    if len(size) != 2 or not all(side >= 1 for side in size):
        raise ValueError(f"size is {tuple(size)}, must be a height and a width of 1 or more")
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)


class Upsampler(nn.Module):
    """Attention maps at the size of the image, each map by itself (Coarse2Fine, the deconvolutional network).

    One network doubles a map, by a transposed convolution of `width` channels, a ReLU and a 3x3 convolution back to one
    channel, and is applied until the map is about as large as the image: so what it has learned serves features of any
    stride. It has no biases, as interpolation has none: a map of zeros stays one, and a map twice as high becomes twice
    as high. The paper says no more than that it is a deconvolutional network. Its output may be slightly negative.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        if not is_whole(width):
            raise ValueError(f"width is {width!r}, must be an integer of at least 1")
        self.doubling = nn.Sequential(
            nn.ConvTranspose2d(1, width, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(width, 1, 3, padding=1, bias=False),
        )

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """maps: (B, M, h, w) to (B, M, *size), doubled as often as comes nearest to the height and once at least.

        What is left is done bilinearly: the stride of a network is no power of two where its convolutions have no
        padding. ValueError for a size that is smaller than the maps.
        """
        check_maps("maps", maps)
        if len(size) != 2 or size[0] < maps.shape[2] or size[1] < maps.shape[3]:
            raise ValueError(f"size is {tuple(size)}, must be a height and a width of at least {tuple(maps.shape[2:])}")
        large = maps.flatten(0, 1).unsqueeze(1)  # (B M, 1, h, w)
        for _ in range(max(1, round(math.log2(size[0] / maps.shape[2])))):
            large = self.doubling(large)
        return bilinear_upsample(large.squeeze(1).unflatten(0, maps.shape[:2]), size)
