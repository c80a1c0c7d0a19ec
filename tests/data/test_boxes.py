import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from fglib.data.boxes import cropped_boxes, numbers, stored_sides
from fglib.data.files import FileImages
from fglib.data.store import Store
from fglib.errors import DataError

TABLE = Path("set/boxes.txt")


def crop(box, sides, size=10):
    corners, sides = (torch.tensor([row], dtype=torch.float64) for row in (box, sides))
    return cropped_boxes(corners, sides, size, TABLE, ["a/1.png"])[0].tolist()


@pytest.mark.parametrize(
    ("box", "sides", "expected"),
    [
        ((0, 0, 20, 20), (20, 20), (0, 0, 10, 10)),
        ((2, 4, 12, 8), (20, 20), (1, 2, 6, 4)),
        ((12, 4, 22, 8), (40, 20), (1, 2, 6, 4)),  # ten columns are cut on the left
        ((2, 14, 12, 18), (20, 40), (1, 2, 6, 4)),
        ((5, -8, 31, 25), (40, 20), (0, 0, 10, 10)),  # beyond the image and the square
        ((2, 4, 12, 8), (5, 5), (4, 8, 10, 10)),
        ((0, 4, 9, 8), (40, 20), (0, 2, 1, 4)),  # beside the square
        ((39, 4, 40, 8), (40, 20), (9, 2, 10, 4)),
        ((4, 4, 5, 8), (20, 20), (2, 2, 3, 4)),  # half a pixel wide
        ((19.9, 19, 20, 20), (20, 20), (9, 9, 10, 10)),
    ],
)
def test_boxes_follow_the_crop(box, sides, expected):
    assert crop(box, sides) == pytest.approx(expected)


@pytest.mark.parametrize(("width", "height"), [(30, 50), (50, 30), (41, 41)])
def test_a_box_lies_where_its_pixels_are_decoded(tmp_path, write_image, width, height):
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[12:21, 15:28] = 255
    Image.fromarray(pixels).save(tmp_path / "1.png")
    image = FileImages(Store(tmp_path), ("1.png",), 90).decode()[0, 0]
    corners = torch.tensor([[15.0, 12, 28, 21]], dtype=torch.float64)
    box = cropped_boxes(corners, stored_sides(tmp_path, ["1.png"]), 90, TABLE, ["1.png"])[0]
    bright = (image > 127).nonzero()
    low, high = bright.amin(dim=0).flip(0), bright.amax(dim=0).flip(0) + 1
    assert (box - torch.cat([low, high])).abs().max() <= 1


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ((3, 4, 3, 8), "is empty or reversed"),
        ((3, 8, 9, 4), "is empty or reversed"),
        ((20, 4, 30, 8), "lies outside the image"),
        ((3, -8, 9, 0), "lies outside the image"),
        ((math.nan, 4, 9, 8), "is not finite"),
        ((3, 4, math.inf, 8), "is not finite"),
    ],
)
def test_wrong_boxes_are_named(box, fault):
    corners = torch.tensor([(0, 0, 5, 5), box], dtype=torch.float64)
    sides = torch.full((2, 2), 20.0, dtype=torch.float64)
    with pytest.raises(DataError, match=rf"set/boxes.txt gives b/2.png \(20 x 20 pixels\) the box .*, which {fault}"):
        cropped_boxes(corners, sides, 10, TABLE, ["a/1.png", "b/2.png"])


def test_an_image_that_cannot_be_read_has_no_known_box(tmp_path, write_image):
    write_image(tmp_path / "1.png", size=(7, 5))
    (tmp_path / "2.png").write_bytes(b"no image")
    sides = stored_sides(tmp_path, ["1.png", "2.png", "3.png"])
    assert sides[0].tolist() == [7, 5, 1]
    assert sides[1:].isnan().all()
    boxes = cropped_boxes(torch.tensor([[1.0, 1, 3, 3]] * 3, dtype=torch.float64), sides, 5, TABLE, "123")
    assert boxes.isnan().all(dim=1).tolist() == [False, True, True]


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_box_turns_with_its_image(tmp_path, turn):
    pixels = np.zeros((60, 40), dtype=np.uint8)
    pixels[22:31, 8:13] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    Image.fromarray(pixels).save(tmp_path / "1.jpg", exif=exif, quality=100)
    image = FileImages(Store(tmp_path), ("1.jpg",), 40).decode()[0, 0]
    corners = torch.tensor([[8.0, 22, 13, 31]], dtype=torch.float64)
    box = cropped_boxes(corners, stored_sides(tmp_path, ["1.jpg"]), 40, TABLE, ["1.jpg"])[0]
    bright = (image > 127).nonzero()
    assert box.tolist() == [*bright.amin(dim=0).flip(0).tolist(), *(bright.amax(dim=0).flip(0) + 1).tolist()]


def test_a_large_photograph_has_sides(tmp_path, write_image, monkeypatch):
    write_image(tmp_path / "1.png", size=(7, 5))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow would refuse from 20 on
    assert stored_sides(tmp_path, ["1.png"])[0].tolist() == [7, 5, 1]


def test_sides_of_a_table_are_pixels():
    with pytest.raises(DataError, match=r"a/1.png \(0 x 20 pixels\) the box .*, which belongs to an image without"):
        crop((0, 0, 5, 5), (0, 20))


def test_numbers_of_a_table():
    assert numbers(TABLE, "ab", [("1", "2.5"), (3, 4)], 2).tolist() == [[1, 2.5], [3, 4]]
    for row in (
        ("1", "2", "3"),
        ("1", "2", "3", "x"),
        (1, 2, 3, None),
        ("1",) * 5,
        ("1", "2", "3", "nan"),
        (1, 2, 3, 1e999),
    ):
        with pytest.raises(DataError, match="boxes.txt is not the table it should be: it needs 4 numbers for b"):
            numbers(TABLE, "ab", [("1", "2", "3", "4"), row])
