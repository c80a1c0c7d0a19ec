"""The validation part of the training images: of every class its share, disjoint, the same for the same seed."""

import pytest
import torch

from fglib.data.images import DataSet, split_by_class
from fglib.data.made.patches import nested_patches
from fglib.errors import DataError, HiddenLabelsError


def data(images=40):
    return DataSet("patches", *nested_patches(8, classes=4, children=2, images=images))


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_every_class_gives_its_share(fraction):
    whole = data(80)
    part = whole.validation("big", fraction)
    assert len(part.train) + len(part.test) == len(whole.train) and part.hierarchy == whole.hierarchy
    before, held = (torch.bincount(x.labels("big"), minlength=4) for x in (whole.train, part.test))
    assert (held - before * fraction).abs().max() <= 1
    assert len(part.test) == int(len(whole.train) * fraction)


def test_parts_are_disjoint_in_order_and_none_is_of_the_test_set():
    whole = data()
    labels = whole.train.labels("big")
    train, held = split_by_class(labels, 0.25)
    assert sorted(train.tolist() + held.tolist()) == list(range(len(labels)))
    assert train.tolist() == sorted(train.tolist()) and held.tolist() == sorted(held.tolist())
    part = whole.validation("big", 0.25)
    assert torch.equal(part.test.images, whole.train.images[held])
    assert torch.equal(part.train.images, whole.train.images[train])


def test_the_seed_decides():
    labels = data().train.labels("big")
    one, again, other = (split_by_class(labels, 0.25, seed)[1].tolist() for seed in (0, 0, 1))
    assert one == again != other


def test_fine_labels_take_no_part():
    whole = data()
    hidden = DataSet("patches", whole.train.only("big"), whole.test)
    assert torch.equal(hidden.validation("big", 0.25).test.images, whole.validation("big", 0.25).test.images)
    with pytest.raises(HiddenLabelsError):
        hidden.validation("small", 0.25)


def test_small_classes_together_give_their_share_and_keep_an_image():
    train, held = split_by_class(torch.arange(30) // 3, 0.1)  # ten classes of three
    assert len(held) == 3
    train, held = split_by_class(torch.arange(10), 0.5)  # ten classes of one
    assert len(held) == 0 and len(train) == 10


def test_too_few_images_are_named():
    with pytest.raises(DataError, match="training images of 'patches' are too few to hold out 0.01"):
        data(16).validation("big", 0.01)
