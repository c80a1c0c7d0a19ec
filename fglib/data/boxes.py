"""Boxes of stored images, moved into the center squares that are decoded of them.

A box is (x0, y0, x1, y1) in pixels, half-open: x1 - x0 is its width.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import ExifTags
from torch import Tensor

from fglib.data.pixels import center_square, open_image
from fglib.data.store import Store
from fglib.data.tables import damaged
from fglib.errors import DataError, shortened


def numbers(table: Path, names: Sequence[str], rows: Sequence[Sequence], count: int = 4) -> Tensor:
    """What a table gives for each image, as numbers (n,count) float64; DataError where it is not that."""
    found = []
    for name, row in zip(names, rows):
        try:
            found.append([float(word) for word in row])
            if not all(map(math.isfinite, found[-1])):
                raise ValueError(f"got {shortened(row)}")
        except (TypeError, ValueError) as error:
            raise damaged(table, f"it needs {count} numbers for {name} ({error})") from error
        if len(found[-1]) != count:
            raise damaged(table, f"it needs {count} numbers for {name}, not {len(found[-1])}")
    return torch.tensor(found, dtype=torch.float64).reshape(-1, count)


def cropped_boxes(corners: Tensor, sides: Tensor, size: int, table: Path, names: Sequence[str]) -> Tensor:
    """Boxes (n,4) in the center squares, of `size` pixels, from those in stored images, (n,4) float64.

    sides: width and height (n,2) float64 of the stored images, NaN where they are not known, as is the box then; with
        a third column, as `stored_sides` gives it, boxes are turned upright as the decoded images are.
    table, names: what the boxes were read from, and the image of each.
    A box is cut at the border of the square. It keeps a pixel at least: of an object that lies beside the square,
    the box is a pixel at the border.
    Raises DataError for a box that is empty, reversed, not finite or outside its image.
    """
    _check_boxes(corners, sides[:, :2], table, names)
    if sides.shape[1] == 3:
        corners, sides = _upright(corners, sides)
    squares = corners.new_tensor([center_square(width, height) for width, height in sides.tolist()]).reshape(-1, 4)
    scale = size / (squares[:, 2:] - squares[:, :2])
    low = ((corners[:, :2] - squares[:, :2]) * scale).clamp(0, size - 1)
    high = ((corners[:, 2:] - squares[:, :2]) * scale).clamp(max=size)
    return torch.cat([low, high.maximum(low + 1)], dim=1).float()


def stored_sides(folder: Path, names: Sequence[str]) -> Tensor:
    """Width, height and EXIF orientation (n,3) float64 of image files.

    All are NaN for a file that cannot be read; `image_sets` then refuses it.
    """
    store, sides = Store(folder), torch.full((len(names), 3), torch.nan, dtype=torch.float64)
    for i, name in enumerate(names):
        try:
            store.size(name)  # refuses what is no file
            with (folder / name).open("rb") as file, open_image(file, Path(name).suffix) as image:
                sides[i] = torch.tensor((*image.size, image.getexif().get(ExifTags.Base.Orientation, 1)))
        except Exception:  # a damaged file makes Pillow's readers fail in any way they can
            continue
    return sides


def _upright(corners: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (n,4) and sides (n,2) of the images as they are decoded, from those of the stored ones, sides (n,3)."""
    (x0, y0, x1, y1), (width, height, turn) = corners.unbind(1), sides.unbind(1)
    across = turn >= 5  # these orientations exchange rows and columns; what follows is after that
    width, height = width.where(~across, height), height.where(~across, width)
    x0, y0, x1, y1 = (a.where(~across, b) for a, b in ((x0, y0), (y0, x0), (x1, y1), (y1, x1)))
    mirrored, upside_down = (torch.isin(turn, turn.new_tensor(turns)) for turns in ((2, 3, 6, 7), (3, 4, 7, 8)))
    x0, x1 = (width - x1).where(mirrored, x0), (width - x0).where(mirrored, x1)
    y0, y1 = (height - y1).where(upside_down, y0), (height - y0).where(upside_down, y1)
    return torch.stack([x0, y0, x1, y1], dim=1), torch.stack([width, height], dim=1)


def _check_boxes(corners: Tensor, sides: Tensor, table: Path, names: Sequence[str]) -> None:
    faults = {
        "is not finite": ~corners.isfinite().all(dim=1),
        "is empty or reversed": (corners[:, 2:] <= corners[:, :2]).any(dim=1),
        "belongs to an image without pixels": (sides < 1).any(dim=1),
        "lies outside the image": (corners[:, :2] >= sides).any(dim=1) | (corners[:, 2:] <= 0).any(dim=1),
    }
    for fault, wrong in faults.items():
        if wrong.any():
            i = int(wrong.nonzero()[0])
            box, (width, height) = tuple(corners[i].tolist()), sides[i].tolist()
            raise DataError(f"{table} gives {names[i]} ({width:g} x {height:g} pixels) the box {box}, which {fault}")
