"""Draws of the views: probabilities against the binomial, ranges against the uniform distribution.

With the seed fixed a test passes always or never; the bounds are those that a right draw misses about once in a hundred
thousand seeds.
"""

import math

import pytest
import torch
from scipy.stats import kstest

from fglib.config import AugmentConfig
from fglib.data import augment as module
from fglib.data.augment import Affine, Augment, Erasing, ResizedCrop
from fglib.data.randaugment import OPERATIONS, RandAugment

N = 4000


def as_often(hits, probability):
    """Whether hits (n, ...) bool are as frequent as a probability says, each column within 4.5 standard deviations."""
    n = len(hits)
    return ((hits.sum(0) - n * probability).abs() <= 4.5 * math.sqrt(n * probability * (1 - probability))).all()


def uniform(values, low, high, rounding=0.0):
    """Whether values (n,) fill [low, high] evenly: their distribution is nowhere further from the uniform one than
    Kolmogorov's bound and what rounding moves."""
    bound = math.sqrt(-math.log(1e-5 / 2) / (2 * len(values)))
    return kstest(((values - low) / (high - low)).double().numpy(), "uniform").statistic <= bound + rounding


def test_the_checks_refuse_what_is_a_little_off():
    torch.manual_seed(0)
    draws = torch.rand(N)
    assert as_often(draws < 0.5, 0.5) and not as_often(draws < 0.45, 0.5) and not as_often(draws < 0.3, 0.25)
    assert uniform(draws, 0, 1) and not uniform(draws, 0, 1.1) and not uniform(draws, -0.1, 1)
    assert not uniform(draws**1.2, 0, 1) and not uniform(draws.sqrt(), 0, 1)


def test_half_of_the_images_are_flipped():
    torch.manual_seed(0)
    image = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3).expand(N, 3, -1, -1)
    views = Augment(AugmentConfig(flip=True, views=2), (3, 3))(image)
    flipped = views[:, :, 0, 0, 0] > views[:, :, 0, 0, 2]
    assert as_often(flipped[0], 0.5) and as_often(flipped[1], 0.5)
    assert as_often(flipped[0] & flipped[1], 0.25)  # views are drawn independently


def test_every_place_of_a_padded_crop_is_equally_likely():
    torch.manual_seed(0)
    image = torch.zeros(N, 3, 5, 7, dtype=torch.uint8)
    image[:, :, 2, 3] = 255  # seen from every place
    views = Augment(AugmentConfig(pad_crop=1, flip=True), (5, 7))(image)[0, :, 0]
    places = views[:, 1:4, 2:5].flatten(1) > 0
    assert (places.sum(1) == 1).all() and as_often(places, 1 / 9)


def extents(erased):
    """Height, width, top and left (n,) of the rectangles that are true in erased (n, H, W)."""
    sides = []
    for axis in (2, 1):
        line = erased.any(axis).int()
        sides += [line.sum(1), line.argmax(1)]
    height, top, width, left = (side.double() for side in sides)
    return height, width, top, left


@pytest.mark.parametrize("probability", [0.25, 0.5])
def test_as_many_images_lose_a_rectangle_as_the_probability_says(probability):
    torch.manual_seed(0)
    erased = (Erasing(probability)(torch.ones(N, 1, 8, 8)) == 0).flatten(1).any(1)
    assert as_often(erased, probability)


def test_areas_aspects_and_places_of_erased_rectangles_are_drawn_evenly():
    torch.manual_seed(0)
    n, rows, columns = 1500, 60, 80
    erased = Erasing(1.0)(torch.ones(n, 1, rows, columns))[:, 0] == 0
    height, width, top, left = extents(erased)
    # the few that are cut to the image's sides lose a little of their area
    assert uniform(height * width / (rows * columns), 0.02, 0.33, rounding=0.01)
    aspect, area = height / width, height * width / (rows * columns)
    sharp = (area > 0.05) & (area < 0.2)  # neither changed much by rounding nor cut, whatever the aspect
    high = aspect > 1
    assert as_often(high[sharp], 0.5)
    assert uniform(aspect[sharp & ~high], 0.3, 1, rounding=0.02) and uniform(
        aspect[sharp & high], 1, 3.3, rounding=0.02
    )
    assert uniform((top + torch.rand(n)) / (rows - height + 1), 0, 1)
    assert uniform((left + torch.rand(n)) / (columns - width + 1), 0, 1)


@pytest.mark.parametrize(
    ("wide", "at", "height", "width"),
    [(True, 0, 77, 258), (True, 1, 574, 574), (False, 0, 141, 141), (False, 1, 1000, 316)],
)
def test_the_smallest_and_the_largest_rectangles(monkeypatch, wide, at, height, width):
    """At the ends of the ranges: 0.02 and 0.33 of the area, 0.3 to 1 and 1 to 3.3 times as high as wide."""
    draw = lambda low, high, pixels: torch.full((1,), low + at * 0.999999 * (high - low))  # noqa: E731
    monkeypatch.setattr(module, "_uniform", draw)
    monkeypatch.setattr(module, "_chance", lambda probability, pixels: torch.tensor([wide or probability == 1]))
    erased = Erasing(1.0)(torch.ones(1, 1, 1000, 1000))[:, 0] == 0
    place = [0.0, 0.0] if at == 0 else [1000.0 - height, 1000.0 - width]  # first or last that is possible
    assert [side.item() for side in extents(erased)] == [height, width, *place]


def test_areas_aspects_and_places_of_resized_crops_are_drawn_evenly():
    """The image holds each pixel's row and column, so that corners say which window is seen."""
    torch.manual_seed(0)
    n, side = 2000, 64
    places = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).float()
    views = ResizedCrop((3, 3), (0.2, 0.6))(places.expand(n, -1, -1, -1)).double()  # every draw fits
    first, last = views[:, :, 0, 0], views[:, :, -1, -1]
    assert torch.allclose(first, first.round(), atol=1e-3) and torch.allclose(last, last.round(), atol=1e-3)
    height, width = (last - first + 1).round().T
    assert uniform(height * width / side**2, 0.2, 0.6, rounding=0.01)
    assert uniform((width / height).log(), -math.log(4 / 3), math.log(4 / 3), rounding=0.03)
    for start, length in zip(first.T, (height, width)):
        assert uniform((start + torch.rand(n)) / (side - length + 1), 0, 1, rounding=1e-4)


def test_turns_zooms_and_shifts_are_drawn_evenly():
    torch.manual_seed(0)
    n, height, width = N, 15, 31
    ramps = torch.stack(
        torch.meshgrid(torch.arange(height) - 7.0, torch.arange(width) - 15.0, indexing="ij")
    )  # of each pixel its place below and to the right of the centre
    views = Affine(25.0, 0.1, (0.7, 1.5))(ramps.expand(n, -1, -1, -1)).double()
    moved = (views != ramps).flatten(1).any(1)
    assert as_often(moved, 0.5)
    y, x = views[moved, :, 7, 15].T
    step_y, step_x = (views[moved, :, 7, 16] - views[moved, :, 7, 15]).T  # one pixel to the right in the view
    angle, zoom = torch.atan2(-step_y, step_x), 1 / torch.hypot(step_x, step_y)
    # what is in the middle of the image is this far right of and below the middle of the view
    right = -zoom * (angle.cos() * x - angle.sin() * y) / width
    down = -zoom * (angle.sin() * x + angle.cos() * y) / height
    assert uniform(torch.rad2deg(angle), -25, 25) and uniform(zoom, 0.7, 1.5)
    assert uniform(right, -0.1, 0.1) and uniform(down, -0.1, 0.1)


def test_operations_and_directions_of_randaugment_are_equally_likely():
    torch.manual_seed(0)
    rows, signs = RandAugment(2, 9.0).draw(2 * N, torch.device("cpu"))
    for position, sign in zip(rows, signs):
        assert as_often(torch.nn.functional.one_hot(position, len(OPERATIONS)), 1 / len(OPERATIONS))
        assert as_often(sign == 1, 0.5) and set(sign.tolist()) == {-1, 1}
    ordered = rows[0] * len(OPERATIONS) + rows[1]
    pairs = torch.bincount(ordered, minlength=len(OPERATIONS) ** 2).view(len(OPERATIONS), -1)
    expected = 2 * N / (15 * 14)
    assert (pairs.diagonal() == 0).all()
    off = pairs[~torch.eye(15, dtype=torch.bool)]
    assert ((off - expected).abs() < 5 * math.sqrt(expected)).all()
    assert as_often((signs[0] == signs[1]), 0.5)
