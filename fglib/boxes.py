"""From a map to a box, and how many images are localized wrongly (Coarse2Fine, "Object Localization Results").

Boxes are (x0, y0, x1, y1) in pixels, half-open: x1 - x0 is the width. Sizes: n images of H x W pixels.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from fglib.checks import check_tensor, is_whole, shape


def box_from_map(map: Tensor | np.ndarray, threshold: float = 0.5) -> tuple[int, int, int, int]:
    """The tight box of the largest 4-connected region where the map is at least `threshold` times its maximum.

    map: (H, W) numbers, a tensor of any device or an array; negative values count as zero. threshold: in (0, 1]. Of
    regions of equal size the one that is met first in row order is taken. A map without a positive value, or of one
    value, locates nothing and gives the whole image. ValueError for another shape and for NaN or infinity.
    """
    values = map.detach().cpu().double().numpy() if isinstance(map, Tensor) else np.asarray(map, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"map has shape {values.shape}, must be (H, W)")
    _check_threshold(threshold)
    if not np.isfinite(values).all():
        raise ValueError(f"map of shape {values.shape} has values that are not finite")
    regions, number = ndimage.label((values >= threshold * values.max()) & (values > 0))  # numbered in row order
    if number == 0:
        return 0, 0, values.shape[1], values.shape[0]
    largest = int(np.bincount(regions.ravel())[1:].argmax())
    rows, columns = ndimage.find_objects(regions)[largest]
    return columns.start, rows.start, columns.stop, rows.stop


def boxes_from_maps(maps: Tensor, threshold: float = 0.5, smooth: int = 0) -> Tensor:
    """`box_from_map` of every map, `smoothed` first: (n, H, W) numbers to boxes (n, 4), float32 on the CPU."""
    _check_threshold(threshold)
    maps = smoothed(maps.detach().cpu(), smooth).double().numpy()
    return torch.tensor([box_from_map(values, threshold) for values in maps], dtype=torch.float32)


def smoothed(maps: Tensor, side: int) -> Tensor:
    """Maps (n, H, W) through an averaging filter of `side` pixels, odd; 0 or 1 for none.

    At the border it averages over the pixels that exist; negative values count as zero, as in `box_from_map`.
    """
    check_tensor("maps", maps)
    if maps.ndim != 3 or maps.numel() == 0:
        raise ValueError(f"maps has shape {shape(maps)}, must be (n, H, W)")
    if not is_whole(side, 0) or (side % 2 == 0 and side):
        raise ValueError(f"smooth is {side!r}, must be 0 or an odd number of pixels")
    finite = maps.isfinite().flatten(1).all(1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise ValueError(f"row {row} of maps has values that are not finite; maps has shape {shape(maps)}")
    if side < 2:
        return maps
    # a channel at a time: pooling works on (n, C, H, W)
    values = maps.double().clamp(min=0)[:, None]
    return F.avg_pool2d(values, int(side), stride=1, padding=int(side) // 2, count_include_pad=False)[:, 0]


def tight_boxes(masks: Tensor) -> Tensor:
    """The smallest boxes (n,4) float (x0, y0, x1, y1), half-open, around masks (n,H,W) bool, none of them empty."""
    sides = []
    for axis in (1, 2):  # what is left are columns, then rows
        line = masks.any(dim=axis).int()
        sides.append((line.argmax(dim=1), line.shape[1] - line.flip(1).argmax(dim=1)))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], dim=1).float()


def box_iou(pred: Tensor, true: Tensor) -> Tensor:
    """Intersection over union of each box with the one of the same row: (n, 4) twice to (n,), float64, in [0, 1].

    ValueError for boxes that `check_boxes` refuses and for different numbers of them.
    """
    check_boxes("pred", pred)
    check_boxes("true", true)
    if pred.shape != true.shape:
        raise ValueError(f"pred has shape {shape(pred)}, true {shape(true)}: one box per image in both")
    pred, true = pred.double(), true.double()
    low, high = torch.maximum(pred[:, :2], true[:, :2]), torch.minimum(pred[:, 2:], true[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    of_pred, of_true = ((boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (pred, true))
    return shared / (of_pred + of_true - shared)


def check_boxes(name: str, boxes: Tensor, size: tuple[int, int] | None = None) -> None:
    """`boxes` must be (n, 4), n at least 1, finite and of positive width and height; inside `size` (H, W) where given.

    ValueError naming the argument and the first row that is not.
    """
    check_tensor(name, boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) == 0:
        raise ValueError(f"{name} has shape {shape(boxes)}, must be (n, 4) with a box at least")
    faults = {
        "is not finite": ~boxes.isfinite().all(1),
        "is empty or reversed": (boxes[:, :2] >= boxes[:, 2:]).any(1),
    }
    if size is not None:
        height, width = size
        outside = (boxes < 0) | (boxes > boxes.new_tensor([width, height, width, height]))
        faults[f"is not inside an image of {height} x {width} pixels"] = outside.any(1)
    for what, bad in faults.items():
        if bad.any():
            row = int(bad.nonzero()[0])
            box = f"{boxes[row].tolist()}, must be (x0, y0, x1, y1)"
            raise ValueError(f"row {row} of {name} {what}: {box}; its shape is {shape(boxes)}")


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}, must be above 0 and at most 1")
