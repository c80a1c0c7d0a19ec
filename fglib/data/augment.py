"""Random views of image batches, drawn per image, on the images' device.

Torchvision's transforms draw once per batch, kornia's draw on the processor and copy to the device. Here draws and
pixels stay on the device, so that no step waits for the other side, and no step loops over images.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fglib.config import AugmentConfig
from fglib.data.randaugment import RandAugment, warp


class Augment(nn.Module):
    """uint8 images (B, 3, H, W) -> views (T, B, 3, H, W) float in [0, 1]."""

    def __init__(self, config: AugmentConfig, size: tuple[int, int]) -> None:
        super().__init__()
        self.views = config.views
        steps: list[nn.Module] = []
        affine = bool(config.degrees or config.translate or config.scale != (1.0, 1.0))
        if config.resized_crop:
            steps.append(ResizedCrop(size, config.resized_crop))
        if config.pad_crop or config.flip:
            steps.append(ShiftFlip(config.pad_crop, config.flip))
        if affine:
            steps.append(Affine(config.degrees, config.translate, config.scale))
        if config.randaugment:
            steps.append(RandAugment(*config.randaugment))
        if config.erasing:
            steps.append(Erasing(config.erasing))
        if config.resized_crop or affine or config.randaugment:
            steps.append(nn.Hardtanh(0, 1))  # their sums of rounded weights can leave the range by the last digit
        self.steps = nn.Sequential(*steps)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """`config.views` independent views of every image."""
        pixels = to_unit_interval(images)
        return torch.stack([self.steps(pixels) for _ in range(self.views)])


class ShiftFlip(nn.Module):
    """A random crop of the image's own size out of a border of zeros, then a flip at even odds, both drawn per image.

    Rows and columns are chosen by index, a flip by reading the columns backwards: no loop over images and nothing that
    makes the processor wait for the device.
    """

    def __init__(self, padding: int, flip: bool) -> None:
        super().__init__()
        self.padding, self.flip = padding, flip

    def forward(self, pixels: Tensor) -> Tensor:
        """Images (B, C, H, W) in the same order."""
        count, channels, height, width = pixels.shape
        place, pad = pixels.device, self.padding
        padded = F.pad(pixels, (pad, pad, pad, pad))
        top, left = torch.randint(2 * pad + 1, (2, count, 1), device=place)
        rows = top + torch.arange(height, device=place)  # (B, H)
        columns = left + torch.arange(width, device=place)  # (B, W)
        if self.flip:
            columns = torch.where(torch.rand(count, 1, device=place) < 0.5, columns.flip(1), columns)
        strip = padded.gather(2, rows[:, None, :, None].expand(-1, channels, -1, padded.shape[3]))
        return strip.gather(3, columns[:, None, None].expand(-1, channels, height, -1))


class Affine(nn.Module):
    """A turn, shift and zoom about the centre for every second image, at random; border pixels go on beyond the image.

    degrees: of the largest turn either way; translate: largest shift, as a part of the side; scale: the smallest and
    the largest zoom.
    """

    def __init__(self, degrees: float, translate: float, scale: tuple[float, float]) -> None:
        super().__init__()
        self.angle, self.translate, self.scale = math.radians(degrees), translate, scale

    def forward(self, pixels: Tensor) -> Tensor:
        """Images (B, C, H, W) in the same order."""
        height, width = pixels.shape[-2:]
        angle = _uniform(-self.angle, self.angle, pixels)
        zoom = _uniform(*self.scale, pixels)
        right = width * _uniform(-self.translate, self.translate, pixels)
        down = height * _uniform(-self.translate, self.translate, pixels)
        # a pixel comes from where the shift, then the zoom and the turn, are undone
        cos, sin = angle.cos() / zoom, angle.sin() / zoom
        matrices = torch.stack((cos, sin, -cos * right - sin * down, -sin, cos, sin * right - cos * down), 1)
        moved = warp(pixels, matrices.view(-1, 2, 3), "border")
        return torch.where(_chance(0.5, pixels)[:, None, None, None], moved, pixels)


class ResizedCrop(nn.Module):
    """A random part of the image, resized to the whole size, as in training Inception (Szegedy et al. 2015).

    size: height and width of the result; part: of the area, the smallest and the largest. Width to height is 3:4 to
    4:3. Of ten draws the first that fits into the image is taken, else the largest part of such a shape.
    """

    def __init__(self, size: tuple[int, int], part: tuple[float, float]) -> None:
        super().__init__()
        self.size, self.part = size, part

    def forward(self, pixels: Tensor) -> Tensor:
        """Images (B, C, h, w) as (B, C, *size) in the same order."""
        rows, columns = pixels.shape[-2:]
        area = rows * columns * _uniform(*self.part, pixels, 10)
        aspect = _uniform(-math.log(4 / 3), math.log(4 / 3), pixels, 10).exp()
        widths, heights = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
        fits = (widths >= 1) & (widths <= columns) & (heights >= 1) & (heights <= rows)  # (B, 10)
        found, first = fits.any(1), fits.long().argmax(1, keepdim=True)
        width = torch.where(found, widths.gather(1, first)[:, 0], min(columns, round(rows * 4 / 3)))
        height = torch.where(found, heights.gather(1, first)[:, 0], min(rows, round(columns * 4 / 3)))
        left = (_uniform(0, 1, pixels) * (columns - width + 1)).floor()
        top = (_uniform(0, 1, pixels) * (rows - height + 1)).floor()
        # corner pixels onto corner pixels; places count from the centres
        along_x, along_y = (width - 1) / max(self.size[1] - 1, 1), (height - 1) / max(self.size[0] - 1, 1)
        right, down = left + (width - columns) / 2, top + (height - rows) / 2
        none = torch.zeros_like(width)
        matrices = torch.stack((along_x, none, right, none, along_y, down), 1).view(-1, 2, 3)
        return warp(pixels, matrices, "border", self.size)


class Erasing(nn.Module):
    """A random rectangle of some images becomes black (Zhong et al. 2020).

    probability: that an image loses one. The rectangle has 0.02 to 0.33 of the image's area and is 0.3 to 3.3 times as
    high as wide, as often high as wide; it is cut to the image's sides where it is longer.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, pixels: Tensor) -> Tensor:
        """Images (B, C, H, W) in the same order."""
        rows, columns = pixels.shape[-2:]
        area = rows * columns * _uniform(0.02, 0.33, pixels)
        aspect = torch.where(_chance(0.5, pixels), _uniform(0.3, 1, pixels), _uniform(1, 3.3, pixels))
        height = (area * aspect).sqrt().round().clamp(1, rows)
        width = (area / aspect).sqrt().round().clamp(1, columns)
        top = (_uniform(0, 1, pixels) * (rows - height + 1)).floor()
        left = (_uniform(0, 1, pixels) * (columns - width + 1)).floor()
        y, x = torch.arange(rows, device=pixels.device), torch.arange(columns, device=pixels.device)
        across = (x >= left[:, None]) & (x < (left + width)[:, None])  # (B, W)
        down = (y >= top[:, None]) & (y < (top + height)[:, None])  # (B, H)
        erased = (_chance(self.probability, pixels)[:, None] & down)[:, :, None] & across[:, None]
        return pixels * ~erased[:, None]


def _uniform(low: float, high: float, pixels: Tensor, *shape: int) -> Tensor:
    """(B, *shape) draws for images, on their device."""
    return torch.empty(len(pixels), *shape, device=pixels.device).uniform_(low, high)


def _chance(probability: float, pixels: Tensor) -> Tensor:
    """(B,) bool, true with this probability."""
    return torch.rand(len(pixels), device=pixels.device) < probability


def to_unit_interval(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]."""
    return images.float() / 255
