from dataclasses import replace

import pytest
import torch

from fglib.data.files import FileImages
from fglib.data.hierarchy import ROOT, Hierarchy
from fglib.data.images import DataSet, ImageSet
from fglib.data.store import Store
from fglib.errors import ConfigError, DataError, HiddenLabelsError

HIERARCHY, TARGETS = Hierarchy.from_paths(
    [("a", "x", "1"), ("b", "y", "2"), ("b", "z", "3"), ("a", "x", "4")], ("top", "mid", "leaf")
)


@pytest.fixture
def four():
    return ImageSet(
        torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, 3, 2, 5),
        HIERARCHY,
        TARGETS,
        visible=HIERARCHY.levels,
        paths=("p0", "p1", "p2", "p3"),
        masks={"thing": torch.eye(4, dtype=torch.bool)[:, :2, None].expand(4, 2, 5)},
        boxes=torch.arange(16.0).reshape(4, 4),
        part_boxes={"part": torch.arange(16.0, 32.0).reshape(4, 4)},
    )


def test_labels_of_visible_levels(four):
    assert len(four) == 4
    assert four.resident
    assert torch.equal(four.labels("mid"), TARGETS["mid"])
    with pytest.raises(ConfigError, match="unknown level 'middle'"):
        four.labels("middle")


def test_hidden_labels_stay_hidden(four):
    coarse = four.only("top")
    assert torch.equal(coarse.labels("top"), TARGETS["top"])
    with pytest.raises(HiddenLabelsError, match="'leaf' are hidden.*visible: top.*use_fine: true"):
        coarse.labels("leaf")
    with pytest.raises(HiddenLabelsError, match="'leaf'"):
        coarse.only("top", "leaf")
    with pytest.raises(HiddenLabelsError, match="visible: none"):
        coarse.only().labels("top")
    with pytest.raises(HiddenLabelsError):
        coarse.subset([0]).labels("mid")
    assert four.visible == HIERARCHY.levels  # the set it came from is as it was


def test_only_keeps_the_order_of_levels(four):
    assert four.only("leaf", "top").visible == ("top", "leaf")


def test_labels_of_the_root_say_nothing_and_hide_nothing_else(four):
    rooted = four.with_root()
    assert rooted.visible == (ROOT, "top", "mid", "leaf")
    assert rooted.labels(ROOT).tolist() == [0, 0, 0, 0]
    assert rooted.labels(ROOT).dtype == torch.long
    assert all(torch.equal(rooted.labels(level), TARGETS[level]) for level in HIERARCHY.levels)
    assert rooted.images is four.images
    assert rooted.part_boxes is four.part_boxes
    coarse = four.only("top").with_root()
    assert coarse.visible == (ROOT, "top")
    with pytest.raises(HiddenLabelsError, match="'leaf'"):
        coarse.labels("leaf")
    assert four.visible == HIERARCHY.levels  # the set it came from is as it was


@pytest.mark.parametrize("index", [[2, 0], torch.tensor([2, 0])])
def test_a_subset_takes_everything_along(four, index):
    part = four.subset(index)
    assert part.images[:, 0, 0, 0].tolist() == [2, 0]
    assert all(torch.equal(part.labels(level), TARGETS[level][[2, 0]]) for level in HIERARCHY.levels)
    assert part.paths == ("p2", "p0")
    assert torch.equal(part.masks["thing"], four.masks["thing"][[2, 0]])
    assert torch.equal(part.boxes, four.boxes[[2, 0]])
    assert torch.equal(part.part_boxes["part"], four.part_boxes["part"][[2, 0]])


def test_a_subset_by_mask_and_an_empty_one(four):
    assert four.subset(four.labels("top") == 1).paths == ("p1", "p2")
    assert len(four.subset([])) == 0


def test_a_subset_of_files_decodes_nothing(four):
    files = FileImages(Store("nowhere"), four.paths, 8)
    part = replace(four, images=files, masks={}).subset(torch.tensor([False, True, False, True]))
    assert not part.resident
    assert part.images.names == part.paths == ("p1", "p3")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": torch.zeros(4, 3, 2, 5)}, DataError, "uint8"),
        ({"images": torch.zeros(4, 2, 5, dtype=torch.uint8)}, DataError, "uint8"),
        ({"images": torch.zeros(4, 1, 2, 5, dtype=torch.uint8)}, DataError, "uint8"),
        ({"targets": {**TARGETS, "leaf": torch.tensor([0, 1, 2, 4])}}, ConfigError, "label 4 of level 'leaf'"),
        ({"targets": {**TARGETS, "top": torch.tensor([0, -1, 0, 0])}}, ConfigError, "label -1 of level 'top'"),
        ({"targets": {**TARGETS, "leaf": torch.tensor([0])}}, DataError, "targets of leaf: 1 entries for 4"),
        ({"targets": {"top": TARGETS["top"]}}, DataError, "do not match levels"),
        ({"visible": ("tops",)}, ConfigError, "did you mean 'top'"),
        ({"paths": ("p0",)}, DataError, "paths: 1 entries for 4"),
        ({"boxes": torch.zeros(3, 4)}, DataError, "boxes: 3 entries for 4"),
        ({"part_boxes": {"wing": torch.zeros(3, 4)}}, DataError, "boxes of wing: 3 entries for 4"),
        ({"masks": {"thing": torch.zeros(2, 2, 5)}}, DataError, "thing: 2 entries for 4"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(four, changes, error, message):
    with pytest.raises(error, match=message):
        replace(four, **changes)


def test_a_data_set_has_one_hierarchy(four):
    assert DataSet("toy", four, four.subset([0])).hierarchy == HIERARCHY
    rooted = DataSet("toy", four, four.subset([0]), "a note").with_root()
    assert (rooted.name, rooted.note) == ("toy", "a note")
    assert rooted.hierarchy == HIERARCHY.with_root()
    assert rooted.test.labels(ROOT).tolist() == [0]
    other = replace(four, hierarchy=replace(HIERARCHY, classes={**HIERARCHY.classes, "top": ("a", "c")}))
    with pytest.raises(DataError, match="'toy' have different classes"):
        DataSet("toy", four, other)
