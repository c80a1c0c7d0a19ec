"""RandAugment on whole batches, and the affine warp that it shares with the other views.

Every image draws its own operations, and nothing makes the processor wait for the device: an operation is computed
for all images and chosen with `torch.where`. That is cheap, because the fifteen come down to three: a table of 256
levels, a blend with a grey or a smooth image, and an affine map.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TONES = ("autocontrast", "equalize", "invert", "posterize", "solarize", "solarize_add", "contrast", "brightness")
BLENDS = ("color", "sharpness")
MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
OPERATIONS = TONES + BLENDS + MOVES


class RandAugment(nn.Module):
    """RandAugment (Cubuk et al. 2019): for every image some distinct operations of a common magnitude, in any order.

    operations: how many, 1 to 15; magnitude: above 0 and below 30. Operations and strengths are those of kornia's
    default policy; what an operation does to the pixels is as in PIL and torchvision.
    """

    def __init__(self, operations: int, magnitude: float) -> None:
        super().__init__()
        self.operations, self.strength = operations, magnitude / 30

    def forward(self, pixels: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], in the same order."""
        for operation, sign in zip(*self.draw(len(pixels), pixels.device)):
            pixels = operate(pixels, operation, self.strength, sign)
        return pixels

    def draw(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows of OPERATIONS and signs, both (operations, count); no image has an operation twice."""
        rows = torch.rand(count, len(OPERATIONS), device=device).argsort(1)[:, : self.operations].T
        return rows, 1 - 2 * torch.randint(2, rows.shape, device=device)


def operate(pixels: Tensor, operation: Tensor, strength: float, sign: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] after one operation each.

    operation (B,): rows of OPERATIONS; strength: magnitude as a part of the largest, 0 to 1; sign (B,): 1 or -1, the
    direction of what moves pixels. At strength 1 that is a turn of 30 degrees, a shear of 54 degrees or a shift by
    0.1 of the side, black beyond the image; posterize keeps 4 of 8 bits; solarize inverts from level 1; solarize_add
    adds 0.43 and inverts from 0.5. Contrast, brightness, color and sharpness are scaled by 0.1 at strength 0 to 1.9
    at strength 1.
    """
    chosen = {name: operation == row for row, name in enumerate(OPERATIONS)}
    moved = warp(pixels, _matrices(chosen, strength, sign, pixels.shape[-2:]), "zeros")
    less = torch.where(chosen["color"].view(-1, 1, 1, 1), _grey(pixels), _smooth(pixels))
    blended = less.lerp(pixels, _factor(strength)).clamp(0, 1)
    is_tone, is_move = operation < len(TONES), operation >= len(TONES + BLENDS)
    result = torch.where(is_move.view(-1, 1, 1, 1), moved, blended)
    return torch.where(is_tone.view(-1, 1, 1, 1), _toned(pixels, chosen, strength), result)


def warp(pixels: Tensor, matrices: Tensor, padding_mode: str, size: tuple[int, int] | None = None) -> Tensor:
    """Images (B, C, H, W) read at other places, bilinearly: one affine map per image, one pass for the batch.

    matrices (B, 2, 3): from x, y in the result to x, y in the image, in pixels to the right of and below the centre
    of either. padding_mode: what is seen beyond the image, "zeros" or "border" (its nearest pixel). size: height and
    width of the result, the image's own by default.
    """
    height, width = pixels.shape[-2:]
    rows, columns = size or (height, width)
    y = torch.arange(rows, device=pixels.device)[:, None] - (rows - 1) / 2
    x = torch.arange(columns, device=pixels.device) - (columns - 1) / 2
    along_x, along_y, shift = matrices[..., None, None].unbind(2)
    places = along_x * x + along_y * y + shift  # (B, 2, rows, columns)
    grid = torch.stack((places[:, 0] * (2 / width), places[:, 1] * (2 / height)), -1)  # -1 to 1 from edge to edge
    return F.grid_sample(pixels, grid, padding_mode=padding_mode, align_corners=False)


def _matrices(chosen: dict[str, Tensor], strength: float, sign: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, 2, 3) for `warp`; the identity where none of MOVES is chosen."""

    def amount(name: str, most: float) -> Tensor:
        return chosen[name] * sign * (strength * most)

    turn = amount("rotate", math.radians(30))
    cos, sin = turn.cos(), turn.sin()
    shear_x, shear_y = (amount(name, math.radians(54)).tan() for name in ("shear_x", "shear_y"))
    right, down = amount("translate_x", 0.1 * size[1]), amount("translate_y", 0.1 * size[0])
    # no image has two of them, so their maps can be added up
    return torch.stack((cos, sin + shear_x, -right, shear_y - sin, cos, -down), 1).view(-1, 2, 3)


def _toned(pixels: Tensor, chosen: dict[str, Tensor], strength: float) -> Tensor:
    """Images (B, 3, H, W) rounded to 8 bits and looked up in the table of their tone."""
    levels = (pixels * 255).round().long().flatten(2)  # (B, 3, H * W)
    tables = _tables(levels, _grey(pixels).mean((2, 3)), strength)
    table = torch.zeros(len(pixels), 3, 256, device=pixels.device)
    for name in TONES:
        table = torch.where(chosen[name].view(-1, 1, 1), tables[name], table)
    return table.gather(2, levels).view_as(pixels)


def _tables(levels: Tensor, mean: Tensor, strength: float) -> dict[str, Tensor]:
    """What the levels 0 to 255 become, in [0, 1], by tone; (B, 3, 256) or broadcast to it.

    levels (B, 3, pixels): of the images; mean (B, 1): of their grey in [0, 1].
    """
    level = torch.arange(256, device=levels.device)
    value = level / 255
    low, high = levels.aminmax(dim=2, keepdim=True)
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.long, device=levels.device)
    counts.scatter_add_(2, levels, levels.new_ones(1).expand_as(levels))
    darker = counts.cumsum(2) - counts
    step = (levels.shape[2] - counts.gather(2, high)) // 255  # pixels for each level of the result, as PIL counts them
    spread = (darker + step // 2) // step.clamp(min=1)
    merged = 2 ** (8 - int(8 - 4 * strength))  # levels that become one
    added = (value + 0.43 * strength).clamp(max=1)
    return {
        "autocontrast": torch.where(high > low, (level - low) / (high - low).clamp(min=1), value).clamp(0, 1),
        "equalize": torch.where(step > 0, spread.clamp(max=255) / 255, value),
        "invert": 1 - value,
        "posterize": level // merged * merged / 255,
        "solarize": torch.where(value < strength, value, 1 - value),
        "solarize_add": torch.where(added < 0.5, added, 1 - added),
        "contrast": mean[..., None].lerp(value, _factor(strength)).clamp(0, 1),
        "brightness": (value * _factor(strength)).clamp(max=1),
    }


def _factor(strength: float) -> float:
    return 0.1 + 1.8 * strength


def _grey(pixels: Tensor) -> Tensor:
    """Luma (B, 1, H, W) of images (B, 3, H, W), with the weights of ITU-R 601."""
    red, green, blue = pixels.split(1, 1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def _smooth(pixels: Tensor) -> Tensor:
    """Images (B, 3, H, W), each inner pixel a mean of itself (weight 5 of 13) and its eight neighbours (1 each)."""
    inner = pixels[..., 1:-1, 1:-1]
    rows = pixels[..., :-2, :] + pixels[..., 1:-1, :] + pixels[..., 2:, :]
    result = pixels.clone()
    result[..., 1:-1, 1:-1] = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner) / 13
    return result
