"""Measures of Subtle differences: crops, class maps, confusions, errors, restated slowly on a tiny trained method."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from tiny import CONFIG, dataset

from fglib.config import AugmentConfig, MethodConfig
from fglib.data.images import DataSet
from fglib.data.made.parts import parts
from fglib.errors import ConfigError
from fglib.lab.run import start, training_view
from fglib.measure import MEASURES, Trained, classification_error, measure
from fglib.measure.coarse2fine import THRESHOLDS
from fglib.measure.subtle import object_regions
from fglib.measure.trained import evenly
from fglib.models import bilinear_upsample
from fglib.train import fit


def prepared(data, level, name="db_gce", options=None, **changes):
    names = dataclasses.replace(CONFIG.data, name=data.name, coarse=level, fine=level)
    config = dataclasses.replace(CONFIG, data=names, method=MethodConfig(name, options or {}), **changes)
    method = start(config, data)
    with torch.enable_grad():
        fit(method, training_view(config, data), config)
    return Trained(method.eval(), data, config)


@pytest.fixture(scope="module")
def trained():
    """On nested patches: exact masks, no boxes; two levels, of which the finer is trained on."""
    return prepared(dataset(), "small", options={"k": 2})


@pytest.fixture(scope="module")
def boxed():
    """On parts: boxes of whole objects, whose masks are parts of them."""
    data = DataSet("parts", *parts(32, kinds=2, models=2, images=24, test_images=16, clutter=3))
    return prepared(data, "model", augment=AugmentConfig(flip=True))


def only(trained, *names):
    return measure(dataclasses.replace(trained, config=dataclasses.replace(trained.config, measure=names)))


def pixels(images):
    return images.images.float() / 255


def with_test(trained, **changes):
    return dataclasses.replace(
        trained, data=DataSet(trained.data.name, trained.data.train, dataclasses.replace(trained.data.test, **changes))
    )


# crops


class Sensitive(torch.nn.Module):
    """A method whose scores change with every pixel."""

    def logits(self, images):
        wave = 100 * torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
        return 5 * (images.mean((2, 3)) @ wave).sin()


@pytest.mark.parametrize("padding", [2, 0])
def test_crops_are_those_of_the_training_at_its_corners_and_in_its_middle(trained, padding):
    augment = AugmentConfig(pad_crop=2) if padding else AugmentConfig(resized_crop=(0.5, 1.0))
    config, method = dataclasses.replace(trained.config, augment=augment), Sensitive()
    metrics, arrays = only(dataclasses.replace(trained, config=config, method=method), "crops")
    test, hits = trained.data.test, []
    side = 16 if padding else 14  # seven eighths
    for image, label in zip(pixels(test), test.labels("small")):
        framed = torch.zeros(3, 16 + 2 * padding, 16 + 2 * padding)
        framed[:, padding : padding + 16, padding : padding + 16] = image
        rest = framed.shape[1] - side
        total = torch.zeros(6, dtype=torch.float64)
        for top, left in ((0, 0), (0, rest), (rest, 0), (rest, rest), (rest // 2, rest // 2)):
            crop = framed[None, :, top : top + side, left : left + side]
            total += method.logits(crop)[0].double().softmax(0)
        hits.append(int(total.argmax()) == int(label))
    assert metrics == {"top1_five_crops": pytest.approx(100 * np.mean(hits))} and arrays == {}


# class maps


def regions_slowly(test):
    """Where the object is, [n][H][W]: centers of pixels in its box, else what any mask holds."""
    height, width = test.image_size
    regions = []
    for i in range(len(test)):
        if test.boxes is None:
            inside = [[any(bool(m[i, y, x]) for m in test.masks.values()) for x in range(width)] for y in range(height)]
        else:
            x0, y0, x1, y1 = test.boxes[i].tolist()
            inside = [[x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1 for x in range(width)] for y in range(height)]
        regions.append(inside)
    return regions


def class_maps_slowly(trained, threshold):
    """Means over the images of coverage, background and inside in percent, of the entropy, and share of empty maps."""
    method, test = trained.method, trained.data.test
    height, width = test.image_size
    found = {"cam_coverage": [], "cam_background": [], "cam_inside": [], "cam_entropy": [], "cam_empty": []}
    for image, label, region in zip(pixels(test), trained.test_labels("coarse"), regions_slowly(test)):
        own = method.class_maps(image[None])[0, label]
        cut = [max(v, 0.0) for row in own.tolist() for v in row]
        total = math.fsum(cut)
        found["cam_empty"].append(100.0 * (total == 0))
        if total:
            entropy = -math.fsum(v / total * math.log(v / total) for v in cut if v > 0)
            found["cam_entropy"].append(entropy / math.log(len(cut)))
        large = bilinear_upsample(own.clamp(min=0)[None, None], (height, width))[0, 0].tolist()
        largest = max(map(max, large))
        inner, outer, mass, all_mass = [], [], 0.0, 0.0
        for y in range(height):
            for x in range(width):
                high = largest > 0 and large[y][x] / largest >= threshold
                (inner if region[y][x] else outer).append(high)
                mass += large[y][x] * region[y][x]
                all_mass += large[y][x]
        found["cam_coverage"].append(100 * sum(inner) / max(len(inner), 1))
        found["cam_background"].append(100 * sum(outer) / max(len(outer), 1))
        found["cam_inside"].append(100 * mass / all_mass if all_mass else 0.0)
    return {name: np.mean(values) if values else math.nan for name, values in found.items()}


@torch.no_grad()
@pytest.mark.parametrize("kind", ["trained", "boxed"])
def test_class_maps_slowly(kind, request):
    trained = request.getfixturevalue(kind)
    metrics, arrays = only(trained, "class_maps")
    expected = class_maps_slowly(trained, 0.5)
    assert metrics == pytest.approx(expected, rel=1e-3)
    assert 0 < expected["cam_coverage"] < 100 and 0 < expected["cam_entropy"] < 1 and expected["cam_inside"] < 100
    assert arrays["cam_curve"][:, 0].tolist() == list(THRESHOLDS)
    for threshold, coverage, background in arrays["cam_curve"][::6]:
        slow = class_maps_slowly(trained, threshold)
        assert (coverage, background) == pytest.approx((slow["cam_coverage"], slow["cam_background"]), rel=0.02)
    assert (np.diff(arrays["cam_curve"][:, 1:], axis=0) <= 0).all()


def test_the_arrays_show_a_few_images_with_their_maps_and_boxes(boxed):
    _, arrays = only(boxed, "class_maps")
    test, rows = boxed.data.test, evenly(16, 8)
    assert arrays["cam_images"].shape == (8, 32, 32, 3) and arrays["cam_images"].dtype == np.uint8
    np.testing.assert_array_equal(arrays["cam_images"], test.images[rows].permute(0, 2, 3, 1).numpy())
    labels = test.labels("model")
    with torch.no_grad():
        maps = boxed.method.class_maps(pixels(test))
    for k, i in enumerate(rows.tolist()):
        np.testing.assert_allclose(arrays["cam_maps"][k], maps[i, labels[i]].clamp(min=0), rtol=1e-2, atol=1e-2)
        assert arrays["cam_names"][k] == test.hierarchy.classes["model"][labels[i]]
        np.testing.assert_allclose(arrays["cam_boxes"][k] * 32, test.boxes[i], atol=1e-4)  # of whole pixels
    assert sum(a.nbytes for a in arrays.values()) < 200_000


class Fixed(torch.nn.Module):
    """A method whose class maps are given, whatever the images."""

    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def class_maps(self, images):
        return self.maps.expand(len(images), -1, -1, -1)


def test_maps_that_are_negative_everywhere_are_empty(trained):
    metrics, arrays = only(dataclasses.replace(trained, method=Fixed(-torch.rand(1, 6, 8, 8) - 1)), "class_maps")
    entropy = metrics.pop("cam_entropy")
    assert math.isnan(entropy)  # not defined; a record has null
    assert metrics == {"cam_coverage": 0, "cam_background": 0, "cam_inside": 0, "cam_empty": 100}
    assert not arrays["cam_curve"][:, 1:].any() and not arrays["cam_maps"].any()


def test_an_empty_map_counts_in_everything_but_the_entropy(trained):
    maps = torch.full((1, 6, 8, 8), -1.0)
    maps[0, 3] = 2.0  # even, for one class of six
    metrics, _ = only(dataclasses.replace(trained, method=Fixed(maps)), "class_maps")
    share = 100 * (trained.data.test.labels("small") == 3).double().mean().item()
    assert metrics["cam_entropy"] == pytest.approx(1) and 0 < share < 100
    assert metrics["cam_coverage"] == pytest.approx(share) == metrics["cam_background"]
    assert metrics["cam_empty"] == pytest.approx(100 - share)


def test_a_map_of_one_place_has_no_entropy_and_lies_where_it_is(boxed):
    maps = torch.zeros(1, 4, 32, 32)
    maps[..., 5, 9] = 3.0
    metrics, _ = only(dataclasses.replace(boxed, method=Fixed(maps)), "class_maps")
    boxes = boxed.data.test.boxes
    hit = [x0 <= 9 < x1 and y0 <= 5 < y1 for x0, y0, x1, y1 in boxes.tolist()]
    area = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes.tolist()]
    assert metrics["cam_entropy"] == pytest.approx(0, abs=1e-6) and 0 < np.mean(hit) < 1
    assert metrics["cam_inside"] == pytest.approx(100 * np.mean(hit))
    assert metrics["cam_coverage"] == pytest.approx(100 * np.mean([h / a for h, a in zip(hit, area)]), rel=1e-4)
    assert metrics["cam_background"] == pytest.approx(
        100 * np.mean([(not h) / (1024 - a) for h, a in zip(hit, area)]), rel=1e-4
    )


def test_the_object_is_its_box_else_what_is_masked(trained, boxed):
    test = trained.data.test
    assert torch.equal(object_regions("x", test, torch.arange(len(test))), test.masks["big"] | test.masks["small"])
    test = boxed.data.test
    assert object_regions("x", test, torch.arange(len(test))).tolist() == regions_slowly(test)
    assert not torch.equal(object_regions("x", test, torch.arange(len(test))), test.masks["object"])
    # a box of parts of pixels holds those whose center it holds
    boxes = test.boxes.clone()
    boxes[0] = torch.tensor([2.4, 3.6, 5.5, 6.51])
    some = dataclasses.replace(test, boxes=boxes)
    region = object_regions("x", some, torch.tensor([0]))[0]
    assert region.nonzero()[0].tolist() == [4, 2] and region.nonzero()[-1].tolist() == [6, 4] and region.sum() == 9


def test_without_boxes_and_masks_nothing_can_be_measured(trained, boxed):
    for case in (with_test(trained, masks={}), with_test(boxed, masks={}, boxes=None)):
        message = f"measure 'class_maps' needs the boxes of objects, and data set '{case.data.name}' has none"
        with pytest.raises(ConfigError, match=message):
            only(case, "class_maps")


# confusions


class Told(torch.nn.Module):
    """A method that tells the classes it is given, image by image."""

    def __init__(self, classes, num):
        super().__init__()
        self.scores = torch.nn.functional.one_hot(torch.as_tensor(classes), num).float()

    def logits(self, images):
        return self.scores[: len(images)]


def test_confusions_are_counted_pair_by_pair_the_most_frequent_first(trained):
    labels = trained.data.test.labels("small").tolist()
    # right, the sibling (two small patches share a big one) and another class in turns
    told = [(y, y ^ 1, (y + 2) % 6)[i % 3] for i, y in enumerate(labels)]
    metrics, arrays = only(dataclasses.replace(trained, method=Told(told, 6)), "confusions")
    counts, siblings = {}, []
    for y, t in zip(labels, told):
        if y != t:
            counts[y, t] = counts.get((y, t), 0) + 1
            siblings.append(y // 2 == t // 2)
    rows = [tuple(row) for row in arrays["confusions"].tolist()]
    assert len(rows) == len(counts) and {row[:2]: row[2] for row in rows} == counts
    assert [row[2] for row in rows] == sorted(counts.values(), reverse=True) and arrays["confusions"].dtype == np.int32
    assert metrics == {"sibling_errors": pytest.approx(100 * np.mean(siblings))} and 0 < np.mean(siblings) < 1
    assert arrays["confusion_names"].tolist() == list(trained.data.hierarchy.classes["small"])


def test_the_coarsest_level_has_no_siblings(trained):
    names = dataclasses.replace(trained.config.data, coarse="big")
    told = Told([0] * len(trained.data.test), 3)
    coarse = dataclasses.replace(trained, method=told, config=dataclasses.replace(trained.config, data=names))
    metrics, arrays = only(coarse, "confusions")
    wrong = [y for y in trained.data.test.labels("big").tolist() if y != 0]
    assert metrics == {} and sorted(arrays["confusions"].tolist()) == [[c, 0, wrong.count(c)] for c in (1, 2)]


def test_without_an_error_there_is_no_pair_and_no_share(trained):
    told = Told(trained.data.test.labels("small"), 6)
    metrics, arrays = only(dataclasses.replace(trained, method=told), "confusions")
    assert math.isnan(metrics["sibling_errors"]) and arrays["confusions"].shape == (0, 3)


# errors


def test_errors_are_of_the_training_and_the_test_images_as_they_are(trained):
    found = classification_error(trained)
    for name, part in (("train", trained.data.train), ("test", trained.data.test)):
        with torch.no_grad():
            told = trained.method.logits(pixels(part)).argmax(1)
        wrong = [int(t) != int(y) for t, y in zip(told, part.labels("small"))]
        assert found[f"{name}_error"] == pytest.approx(100 * np.mean(wrong))
    metrics, arrays = only(trained, "classification_error", "recognition")
    assert {k: metrics[k] for k in found} == found and arrays == {}
    assert metrics["test_error"] == pytest.approx(100 - metrics["top1"])


def test_of_many_training_images_some_are_taken_evenly(trained):
    train = trained.data.train
    rows = [0, 4, 8, 12, 16, 20, 24]
    found = classification_error(trained, most=7)
    with torch.no_grad():
        told = trained.method.logits(pixels(train)[rows]).argmax(1)
    assert found["train_error"] == pytest.approx(100 * (told != train.labels("small")[rows]).double().mean().item())
    assert found["test_error"] == classification_error(trained)["test_error"]


@pytest.mark.parametrize(
    ("n", "most", "rows"),
    [
        (10, 4, [0, 3, 6, 9]),
        (10, 3, [0, 4, 9]),
        (3, 8, [0, 1, 2]),
        (5, 5, [0, 1, 2, 3, 4]),
        (7, 1, [0]),
        (1, 5, [0]),
        (0, 3, []),
    ],
)
def test_rows_are_spread_evenly(n, most, rows):
    found = evenly(n, most)
    assert found.dtype == torch.int64 and found.tolist() == rows


@pytest.mark.parametrize(("n", "most"), [(50_000, 2000), (5994, 1000), (100_003, 50_001), (60_000, 60_000)])
def test_rows_of_many_are_all_different_and_reach_both_ends(n, most):
    found = evenly(n, most)
    gaps = found.diff()
    assert len(found) == most and found[0] == 0 and found[-1] == n - 1
    assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 1


# records


def test_metrics_are_json_and_arrays_small(boxed):
    names = ("crops", "class_maps", "confusions", "classification_error")
    assert set(names) <= set(MEASURES)
    metrics, arrays = only(boxed, *names)
    assert all(type(v) is float for v in metrics.values())
    assert json.loads(json.dumps(metrics)) == metrics
    assert sum(a.nbytes for a in arrays.values()) < 200_000
    assert all(a.dtype != object for a in arrays.values())
