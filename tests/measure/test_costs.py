"""Multiply-adds counted by hand."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from fglib.config import ModelConfig
from fglib.measure.costs import (
    head_multiply_adds,
    head_multiply_adds_within,
    head_ratio,
    method_parameters,
    trunk_multiply_adds,
)
from fglib.models import build_trunk


def test_full_head_is_one_product_per_image():
    assert head_multiply_adds(50_000, 512) == 25_600_000


def test_head_within_counts_the_images_of_the_own_superclass():
    """Every image in turn pays d for each image of its super-class."""
    counts, d = [3, 1, 0, 5], 7
    images = [s for s, count in enumerate(counts) for _ in range(count)]
    paid = sum(d * sum(other == own for other in images) for own in images)
    assert head_multiply_adds_within(counts, d) == Fraction(paid, len(images))


def test_twenty_equal_superclasses_cost_a_twentieth():
    assert head_multiply_adds_within([2500] * 20, 512) == Fraction(head_multiply_adds(50_000, 512), 20)
    assert head_ratio() == {"ratio": 1 / 20}


def test_one_superclass_saves_nothing_and_unequal_ones_save_less():
    assert head_ratio([100]) == {"ratio": 1.0}
    assert head_ratio([90, 10])["ratio"] == pytest.approx(0.82)
    assert head_ratio([50, 50]) == {"ratio": 0.5}


def test_trunk_by_hand():
    trunk = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),  # 16 * 16 places, 8 * 3 * 9 each
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, stride=2, padding=1, groups=2),  # 8 * 8 places, 4 * 4 * 9 each
        nn.Flatten(),
        nn.Linear(4 * 8 * 8, 10),
    )
    before = trunk[1].running_mean.clone()
    assert trunk_multiply_adds(trunk, 16) == 16 * 16 * 8 * 27 + 8 * 8 * 4 * 36 + 256 * 10
    assert trunk.training and torch.equal(trunk[1].running_mean, before)


def test_resnet_18_for_32_pixels():
    """Stem, four 3x3 convolutions at 32 x 32, then three stages that halve the side and double the channels."""
    trunk = build_trunk(ModelConfig(backbone="resnet18", stem="32px"))
    first = 4 * 32**2 * 64 * 64 * 9
    later = 16**2 * (64 * 128 * 9 + 3 * 128 * 128 * 9 + 64 * 128)  # the same in each of the three
    assert trunk_multiply_adds(trunk, 32) == 32**2 * 3 * 64 * 9 + first + 3 * later == 555_417_600


@pytest.mark.parametrize(("classes", "millions"), [(200, 23.9), (1000, 25.6)])
def test_subtle_differences_has_no_parameter_more_than_the_network(classes, millions):
    """Table 2 counts 23.9M for the 200 classes of CUB-200-2011."""
    counts = method_parameters(classes=classes)
    assert set(counts) == {"network", "plain", "db_gce"} and len(set(counts.values())) == 1
    assert round(counts["plain"] / 1e6, 1) == millions
    # all but the classifier is the same, 2,048 weights and a bias for each class
    assert counts["network"] - method_parameters(classes=2)["network"] == (classes - 2) * 2049


def test_parameters_of_another_network():
    counts = method_parameters("resnet18", 10)
    assert set(counts.values()) == {11_181_642}  # 11,176,512 and 10 times 513


@pytest.mark.parametrize("counts", [[], [0, 0], [3, -1]])
def test_counts_that_make_no_sense(counts):
    with pytest.raises(ValueError, match="counts"):
        head_multiply_adds_within(counts, 4)


def test_sizes_that_make_no_sense():
    for n, d in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            head_multiply_adds(n, d)
    with pytest.raises(ValueError, match="d at least 1"):
        head_multiply_adds_within([2], 0)
