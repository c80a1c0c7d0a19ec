"""Views on the edges of their ranges: crops as large as the image, rectangles of a pixel, options at their ends."""

import pytest
import torch
from torchvision.transforms.v2.functional import equalize

from fglib.config import AugmentConfig
from fglib.data import augment as module
from fglib.data.augment import Augment, Erasing, ResizedCrop, ShiftFlip
from fglib.data.randaugment import OPERATIONS, operate


def drawn(monkeypatch, *values):
    """`_uniform` gives these values, one a call, whatever the range."""
    left = iter(values)
    monkeypatch.setattr(
        module, "_uniform", lambda low, high, pixels, *shape: torch.full((len(pixels), *shape), next(left))
    )


def places(rows, columns):
    """An image whose channels are the row and the column of every pixel."""
    return torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")).float()[None]


@pytest.mark.parametrize(("rows", "columns"), [(8, 32), (32, 8)])
def test_a_crop_as_high_or_as_wide_as_the_image_fits(monkeypatch, rows, columns):
    """A square of a quarter of the area has the shorter side."""
    drawn(monkeypatch, 0.25, 0.0, 0.0, 0.0)  # area, logarithm of the aspect, left and top
    crop = ResizedCrop((8, 8), (0.2, 1.0))(places(rows, columns))
    torch.testing.assert_close(crop, places(8, 8))


@pytest.mark.parametrize(("rows", "columns"), [(1, 32), (32, 1), (16, 32)])
def test_a_crop_of_a_single_pixel_fits(monkeypatch, rows, columns):
    drawn(monkeypatch, 1 / (rows * columns), 0.0, 0.999, 0.999)  # as far right and down as possible
    crop = ResizedCrop((2, 2), (0.001, 1.0))(places(rows, columns))
    torch.testing.assert_close(crop, torch.tensor([rows - 1.0, columns - 1.0])[None, :, None, None].expand(1, 2, 2, 2))


@pytest.mark.parametrize(
    ("area", "aspect", "height", "width"),
    [
        (0.02, 0.3, 1, 1),  # both would be rounded away
        (0.02, 3.3, 1, 1),
        (0.3, 1.4, 3, 2),  # 3.24 and 2.31
        (0.33, 0.8, 3, 3),  # 2.57 and 3.21
        (0.33, 3.3, 5, 2),  # 5.22 is cut
        (0.33, 0.3, 2, 5),
    ],
)
def test_sides_of_a_rectangle_are_rounded_and_lie_in_the_image(monkeypatch, area, aspect, height, width):
    for at in (0.0, 0.999):
        drawn(monkeypatch, area, aspect, aspect, at, at)
        erased = Erasing(1.0)(torch.ones(1, 3, 5, 5))[0, 0] == 0
        expected = torch.zeros(5, 5, dtype=torch.bool)
        top, left = (0, 0) if at == 0 else (5 - height, 5 - width)
        expected[top : top + height, left : left + width] = True
        assert torch.equal(erased, expected)


def test_crops_of_images_that_are_not_square():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 4, 9)
    views = ShiftFlip(2, False)(image.expand(200, -1, -1, -1))
    padded = torch.nn.functional.pad(image[0], (2, 2, 2, 2))
    windows = {padded[:, y : y + 4, x : x + 9].numpy().tobytes() for y in range(5) for x in range(5)}
    assert {view.numpy().tobytes() for view in views} == windows and len(windows) == 25


def test_a_crop_without_padding_is_the_image_and_a_flip_moves_no_row():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 5, 2)
    assert torch.equal(ShiftFlip(0, False)(image), image)
    flipped = {view.numpy().tobytes() for view in ShiftFlip(0, True)(image.expand(50, -1, -1, -1))}
    assert flipped == {image[0].numpy().tobytes(), image[0].flip(2).numpy().tobytes()}


@pytest.mark.parametrize(
    "change",
    [
        {"degrees": 360.0},
        {"translate": 1.0},
        {"scale": (0.5, 0.5)},
        {"resized_crop": (1.0, 1.0)},
        {"erasing": 1.0},
        {"randaugment": (1, 0.01)},
        {"randaugment": (15, 29.99)},
        {"views": 1},
    ],
)
def test_values_at_the_ends_are_allowed(change):
    views = Augment(AugmentConfig(**change), (4, 4))(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    assert views.shape == (1, 2, 3, 4, 4)


@pytest.mark.parametrize("change", [{"degrees": 9.0}, {"translate": 0.2}, {"scale": (0.5, 0.6)}])
def test_each_of_the_affine_options_alone_moves_pixels(change):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (20, 3, 9, 9), dtype=torch.uint8)
    views = Augment(AugmentConfig(**change), (9, 9))(images)[0]
    moved = (views != images.float() / 255).flatten(1).any(1)
    assert 0 < moved.sum() < 20


@pytest.mark.parametrize(("strength", "bits"), [(0.2, 7), (0.25, 7), (0.26, 6), (0.5, 6), (0.76, 4), (1.0, 4)])
def test_posterize_keeps_as_many_bits_as_the_strength_leaves(strength, bits):
    levels = torch.arange(256).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    row = torch.tensor([OPERATIONS.index("posterize")])
    result = (operate(levels / 255, row, strength, torch.ones(1)) * 255).round().long()
    step = 2 ** (8 - bits)
    assert torch.equal(result, levels // step * step)


def tones(image, name):
    """An image (3, H, W) of levels after an operation, as levels."""
    row = torch.tensor([OPERATIONS.index(name)])
    return (operate(image[None] / 255, row, 0.3, torch.ones(1))[0] * 255).round().byte()


@pytest.mark.parametrize("highest", [1, 2, 3])
def test_equalize_needs_255_pixels_below_the_highest_level(highest):
    """Of 256 pixels; PIL and torchvision leave an image alone that has fewer."""
    levels = torch.arange(256).clamp(max=200) // 2
    levels[256 - highest :] = 250
    image = levels.view(1, 16, 16).expand(3, -1, -1).byte()
    assert torch.equal(tones(image, "equalize"), equalize(image))
    assert torch.equal(tones(image, "equalize"), image) == (highest > 1)


def test_two_neighbouring_levels_are_stretched_to_black_and_white():
    image = torch.tensor([90, 91, 91, 90]).view(1, 2, 2).expand(3, -1, -1).byte()
    assert tones(image, "autocontrast")[0].tolist() == [[0, 255], [255, 0]]
