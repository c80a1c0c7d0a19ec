"""Boxes of maps against a search pixel by pixel, IoU against torchvision, and the error by hand."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou as all_pairs

from fglib.boxes import box_from_map, box_iou, boxes_from_maps, check_boxes
from fglib.measure.localization import localization_error


def grid(*rows):
    """A map from rows of digits; a dot is zero."""
    return torch.tensor([[0.0 if c == "." else float(c) for c in row] for row in rows])


def box_slowly(values, threshold):
    """Regions grown from each pixel in row order, over the four neighbours; the first of the largest ones."""
    h, w = len(values), len(values[0])
    largest = max(max(row) for row in values)
    if largest <= 0:
        return 0, 0, w, h
    inside = {(y, x) for y in range(h) for x in range(w) if values[y][x] >= threshold * largest}
    best = []
    for y in range(h):
        for x in range(w):
            region, edge = [], [(y, x)]
            while edge:
                place = edge.pop()
                if place in inside:
                    inside.remove(place)
                    region.append(place)
                    edge += [(place[0] + dy, place[1] + dx) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
            if len(region) > len(best):
                best = region
    rows, columns = [y for y, _ in best], [x for _, x in best]
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


# Box of a map


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("size", [(9, 7), (1, 12), (12, 1), (1, 1)])
def test_boxes_are_those_of_the_largest_region(threshold, size):
    draw = torch.Generator().manual_seed(0)
    for _ in range(40):
        values = torch.randint(-4, 9, size, generator=draw).double()
        assert box_from_map(values, threshold) == box_slowly(values.tolist(), threshold)


def test_a_box_is_half_open_and_tight():
    values = grid("......", "..45..", "..4...", "......")
    assert box_from_map(values) == (2, 1, 4, 3)
    assert all(type(side) is int for side in box_from_map(values))
    assert box_from_map(grid("9..", "...")) == (0, 0, 1, 1)
    assert box_from_map(grid("...", "..9")) == (2, 1, 3, 2)


def test_the_threshold_is_a_part_of_the_maximum_and_belongs_to_the_inside():
    values = grid("2468")
    assert box_from_map(values, 0.5) == (1, 0, 4, 1)
    assert box_from_map(values, 0.51) == (2, 0, 4, 1)
    assert box_from_map(values, 1.0) == (3, 0, 4, 1)
    assert box_from_map(values, 1e-9) == (0, 0, 4, 1)


def test_corners_do_not_connect():
    assert box_from_map(grid("9...", ".9..", ".99.", "....")) == (1, 1, 3, 3)


def test_the_first_of_equal_regions_is_taken():
    assert box_from_map(grid("...9", "...9", "99..")) == (3, 0, 4, 2)
    assert box_from_map(grid("..9.", "9.9.", "9...")) == (2, 0, 3, 2)
    assert box_from_map(grid("9.9", "9.9", "999")) == (0, 0, 3, 3)  # two strands that meet below are one region


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0, 1e-320])
@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_a_map_of_one_value_gives_the_whole_image(value, threshold):
    assert box_from_map(torch.full((4, 6), value, dtype=torch.float64), threshold) == (0, 0, 6, 4)


def test_a_map_without_a_positive_value_gives_the_whole_image():
    assert box_from_map(torch.tensor([[-1.0, 0.0, -3.0], [0.0, -2.0, -1.0]])) == (0, 0, 3, 2)


def test_negative_values_count_as_zero():
    values = grid("99..", "....")
    assert box_from_map(values - 1.0, 1e-6) == (0, 0, 2, 1)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8])
def test_tensors_and_arrays_of_any_type_and_layout(kind):
    values = grid("......", "..45..", "..4...")
    expected = (2, 1, 4, 3)
    assert box_from_map(values.to(kind)) == expected
    assert box_from_map(values.T.contiguous().to(kind).T) == expected
    if kind != torch.bfloat16:
        assert box_from_map(values.to(kind).numpy()) == expected
        assert box_from_map(values.to(kind).numpy()[::-1]) == (2, 0, 4, 2)
    assert box_from_map(values.requires_grad_()) == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (torch.zeros(1, 4, 4), ["map has shape (1, 4, 4)", "(H, W)"]),
        (torch.zeros(4), ["map has shape (4,)"]),
        (torch.zeros(0, 4), ["map has shape (0, 4)"]),
        (np.zeros((2, 2, 2)), ["map has shape (2, 2, 2)"]),
        (torch.tensor([[1.0, torch.nan]]), ["map of shape (1, 2)", "not finite"]),
        (torch.tensor([[1.0, torch.inf]]), ["not finite"]),
        (torch.tensor([[1.0, -torch.inf]]), ["not finite"]),
    ],
)
def test_maps_that_have_no_box(values, words):
    with pytest.raises(ValueError) as error:
        box_from_map(values)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, float("nan")])
def test_thresholds_outside_their_range(threshold):
    for call in (
        lambda: box_from_map(torch.ones(2, 2), threshold),
        lambda: boxes_from_maps(torch.ones(1, 2, 2), threshold),
    ):
        with pytest.raises(ValueError, match=f"threshold is {threshold}, must be above 0 and at most 1"):
            call()


# Boxes of many maps


def smoothed_slowly(values, side):
    """The mean over the pixels of a square that exist, negative values as zero."""
    h, w, reach = len(values), len(values[0]), side // 2
    result = []
    for y in range(h):
        result.append([])
        for x in range(w):
            near = [
                max(values[i][j], 0)
                for i in range(max(y - reach, 0), min(y + reach + 1, h))
                for j in range(max(x - reach, 0), min(x + reach + 1, w))
            ]
            result[-1].append(sum(near) / len(near))
    return result


@pytest.mark.parametrize("smooth", [0, 1, 3, 5, 21])
def test_boxes_of_smoothed_maps(smooth):
    maps = torch.randn(12, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    boxes = boxes_from_maps(maps, 0.6, smooth)
    assert boxes.shape == (12, 4) and boxes.dtype == torch.float32
    expected = [box_slowly(smoothed_slowly(m, max(smooth, 1)), 0.6) for m in maps.tolist()]
    assert boxes.tolist() == [list(box) for box in expected]


def test_smoothing_joins_what_a_gap_parts_and_keeps_the_border():
    values = grid("99.99..", "99.99..", ".......")
    assert boxes_from_maps(values[None]).tolist() == [[0, 0, 2, 2]]
    assert boxes_from_maps(values[None], 0.6, 3).tolist() == [[0, 0, 5, 2]]


def test_maps_without_information_give_the_whole_image():
    maps = torch.stack([torch.zeros(4, 6), torch.full((4, 6), 0.1), torch.full((4, 6), -1.0)])
    for smooth in (0, 3):
        assert boxes_from_maps(maps, smooth=smooth).tolist() == [[0, 0, 6, 4]] * 3


def test_maps_are_read_only_and_may_be_of_half_precision():
    maps = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0))
    half, before = maps.half(), maps.clone()
    boxes = boxes_from_maps(maps.requires_grad_(), 0.5, 3)
    assert torch.equal(maps.detach(), before) and not boxes.requires_grad
    assert torch.equal(boxes_from_maps(half, 0.5, 3), boxes_from_maps(half.double(), 0.5, 3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: boxes_from_maps(torch.zeros(4, 4)), ["maps has shape (4, 4)", "(n, H, W)"]),
        (lambda: boxes_from_maps(torch.zeros(0, 4, 4)), ["maps has shape (0, 4, 4)"]),
        (lambda: boxes_from_maps(torch.zeros(1, 4, 4), smooth=2), ["smooth is 2", "odd"]),
        (lambda: boxes_from_maps(torch.zeros(1, 4, 4), smooth=-1), ["smooth is -1"]),
        (lambda: boxes_from_maps(torch.zeros(1, 4, 4), smooth=1.5), ["smooth is 1.5"]),
        (lambda: boxes_from_maps(torch.tensor([[[1.0]], [[torch.nan]]])), ["row 1 of maps", "(2, 1, 1)"]),
        (lambda: boxes_from_maps(torch.tensor([[[torch.inf]]]), smooth=3), ["row 0 of maps"]),
    ],
)
def test_many_maps_that_do_not_fit(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words), error.value


# IoU and the error


def boxes(number, seed):
    draw = torch.Generator().manual_seed(seed)
    low = torch.randint(0, 20, (number, 2), generator=draw)
    return torch.cat([low, low + torch.randint(1, 20, (number, 2), generator=draw)], 1)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.int64])
def test_iou_is_the_diagonal_of_all_pairs(kind):
    pred, true = boxes(50, 0), boxes(50, 1)
    iou = box_iou(pred.to(kind), true.to(kind))
    assert iou.dtype == torch.float64 and (iou == 0).any() and (iou > 0.3).any()
    torch.testing.assert_close(iou, all_pairs(pred.double(), true.double()).diagonal())


def test_iou_by_counting_pixels():
    for pred, true, value in zip(boxes(30, 2).tolist(), boxes(30, 3).tolist(), box_iou(boxes(30, 2), boxes(30, 3))):
        first, second = ({(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])} for box in (pred, true))
        assert value.item() == pytest.approx(len(first & second) / len(first | second))


def test_iou_at_its_ends():
    box = torch.tensor([[2, 3, 7, 5]])
    assert box_iou(box, box).item() == 1
    assert box_iou(box, torch.tensor([[7, 3, 9, 5]])).item() == 0  # they share an edge
    assert box_iou(box, torch.tensor([[8, 9, 10, 10]])).item() == 0  # both sides apart


def test_wrong_are_boxes_and_labels():
    true = torch.tensor([[0, 0, 10, 10]] * 5)
    pred = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 4], [0, 0, 10, 6], [0, 0, 3, 3]])
    right = torch.tensor([True, False, True, True, False])
    assert localization_error(pred, true, right) == 60.0
    assert localization_error(true, true, torch.ones(5, dtype=torch.bool)) == 0.0
    assert localization_error(true, true, torch.zeros(5, dtype=torch.bool)) == 100.0


def test_an_iou_of_a_half_is_wrong():
    true, right = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([True])
    assert localization_error(torch.tensor([[0.0, 0, 10, 5]]), true, right) == 100.0
    assert localization_error(torch.tensor([[0.0, 0, 10, 5.001]]), true, right) == 0.0


def test_the_error_is_a_percentage_of_the_images():
    true = torch.tensor([[0, 0, 10, 10]] * 3)
    assert localization_error(true, true, torch.tensor([True, False, True])) == pytest.approx(100 / 3)
    assert type(localization_error(true, true, torch.tensor([True, False, True]))) is float


GOOD = torch.tensor([[0.0, 0, 4, 4], [1, 1, 3, 2]])


@pytest.mark.parametrize("argument", ["pred_boxes", "true_boxes"])
@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([3, 1, 3, 2], "is empty or reversed"),
        ([1, 2, 3, 2], "is empty or reversed"),
        ([3, 1, 1, 2], "is empty or reversed"),
        ([1, 5, 3, 2], "is empty or reversed"),
        ([1, 1, float("nan"), 2], "is not finite"),
        ([1, 1, float("inf"), 2], "is not finite"),
    ],
)
def test_boxes_that_are_none(argument, row, words):
    bad = torch.stack([GOOD[0], torch.tensor(row, dtype=torch.float32)])
    arguments = {"pred_boxes": GOOD, "true_boxes": GOOD, argument: bad}
    with pytest.raises(ValueError, match=f"row 1 of {argument} {words}"):
        localization_error(**arguments, label_correct=torch.tensor([True, True]))


def test_boxes_outside_the_image_are_told_where_its_size_is_given():
    check_boxes("boxes", torch.tensor([[0.0, 0, 6, 4], [5, 3, 6, 4]]), size=(4, 6))
    for row in ([0, 0, 6, 5], [0, 0, 7, 4], [-1, 0, 3, 3], [0, -0.5, 3, 3], [7, 1, 9, 3]):
        outside = torch.stack([GOOD[0], torch.tensor(row)])
        check_boxes("boxes", outside)
        with pytest.raises(ValueError, match="row 1 of boxes is not inside an image of 4 x 6 pixels"):
            check_boxes("boxes", outside, size=(4, 6))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: box_iou(GOOD, GOOD[:1]), ["pred", "(2, 4)", "true", "(1, 4)"]),
        (lambda: box_iou(GOOD[:, :3], GOOD), ["pred has shape (2, 3)"]),
        (lambda: box_iou(GOOD, GOOD[:0]), ["true has shape (0, 4)"]),
        (lambda: box_iou(GOOD, GOOD[:, [2, 1, 0, 3]]), ["row 0 of true is empty or reversed"]),
        (lambda: localization_error(GOOD[:0], GOOD[:0], torch.ones(0) > 0), ["pred_boxes", "(0, 4)"]),
        (lambda: localization_error(GOOD, GOOD[:1], torch.ones(2) > 0), ["true_boxes", "(1, 4)", "(2, 4)"]),
        (lambda: localization_error(GOOD, GOOD, torch.ones(1) > 0), ["label_correct", "(1,)", "(2, 4)"]),
        (lambda: localization_error(GOOD, GOOD, torch.ones(2)), ["label_correct", "float32", "bool"]),
        (lambda: localization_error(GOOD[0], GOOD[0], torch.ones(4) > 0), ["pred_boxes", "(4,)"]),
    ],
)
def test_boxes_that_do_not_fit(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words), error.value
