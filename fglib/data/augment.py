"""Random views of image batches, drawn per image, on the images' device.

Kornia rather than torchvision, because torchvision's transforms draw once per batch: 256 images of 32 px take
4 ms to crop and 7 ms to rotate on two cores, a twentieth of the smallest training step they feed.
"""

import torch
import torch.nn.functional as F
from kornia import augmentation as K
from torch import Tensor, nn

from fglib.config import AugmentConfig
from fglib.errors import ConfigError


class Augment(nn.Module):
    """uint8 images (B, 3, H, W) -> views (T, B, 3, H, W) float in [0, 1]."""

    def __init__(self, config: AugmentConfig, size: tuple[int, int]) -> None:
        super().__init__()
        _check(config)
        self.views = config.views
        steps: list[nn.Module] = []
        if config.resized_crop:
            steps.append(K.RandomResizedCrop(size, config.resized_crop, cropping_mode="resample"))
        if config.pad_crop or config.flip:
            steps.append(ShiftFlip(config.pad_crop, config.flip))
        if config.degrees or config.translate or config.scale != (1.0, 1.0):
            shift = (config.translate, config.translate)
            steps.append(K.RandomAffine(config.degrees, shift, config.scale, padding_mode="border"))
        if config.randaugment:
            steps.append(RandAugment(*config.randaugment))
        if config.erasing:
            steps.append(K.RandomErasing(p=config.erasing))
        if config.resized_crop or config.randaugment:
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


class RandAugment(nn.Module):
    """RandAugment (Cubuk et al. 2019): some operations of a common magnitude, drawn for every few images.

    Kornia draws them once per call, magnitudes' signs per image. Small groups come close to a draw per image and still
    work on many at a time.
    """

    group = 16  # images

    def __init__(self, operations: int, magnitude: float) -> None:
        super().__init__()
        try:
            self.augment = K.auto.RandAugment(operations, magnitude)
        except ValueError as e:
            raise ConfigError(f"augment.randaugment is [{operations}, {magnitude}]: {e}") from e

    def forward(self, pixels: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], in the same order."""
        return torch.cat([self.augment(part) for part in pixels.split(self.group)])


def _check(config: AugmentConfig) -> None:
    if config.views < 1:
        raise ConfigError(f"augment.views is {config.views}, must be at least 1")
    if config.resized_crop and not 0 < config.resized_crop[0] <= config.resized_crop[1] <= 1:
        raise ConfigError(
            f"augment.resized_crop is {list(config.resized_crop)}, must be the smallest and the largest part of the "
            "area, in (0, 1]"
        )
    if not 0 <= config.erasing <= 1:
        raise ConfigError(f"augment.erasing is {config.erasing}, must be a probability")


def to_unit_interval(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]."""
    return images.float() / 255
