"""Measures of Coarse2Fine: heads, boxes, parts and pairs, restated slowly on a tiny trained method."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import CONFIG

from fglib.boxes import box_from_map, smoothed
from fglib.config import AugmentConfig, MethodConfig
from fglib.data.images import DataSet
from fglib.data.made.maps import INTERPOLATIONS, interpolations
from fglib.data.made.parts import parts
from fglib.errors import ConfigError
from fglib.lab.run import start, training_view
from fglib.measure import Trained, measure
from fglib.measure.coarse2fine import THRESHOLDS
from fglib.models import bilinear_upsample
from fglib.train import fit


@pytest.fixture(scope="module")
def data():
    return DataSet("parts", *parts(32, kinds=2, models=2, images=40, test_images=24, clutter=3))


def prepared(data, name, **changes):
    names = dataclasses.replace(CONFIG.data, name=data.name, coarse="model", fine="model")
    config = dataclasses.replace(CONFIG, data=names, method=MethodConfig(name), **changes)
    method = start(config, data)
    fit(method, training_view(config, data), config)
    return Trained(method.eval(), data, config)


@pytest.fixture(scope="module")
def trained(data):
    return prepared(data, "coarse2fine", augment=AugmentConfig(flip=True))


@pytest.fixture(scope="module")
def plain(data):
    return prepared(data, "plain", augment=AugmentConfig(flip=True))


def only(trained, *names):
    return measure(dataclasses.replace(trained, config=dataclasses.replace(trained.config, measure=names)))


def pixels(images):
    return images.images.float() / 255


@torch.no_grad()
def test_recognition_counts_hits_of_every_head(trained):
    metrics, _ = only(trained, "recognition")
    heads = trained.method.heads(pixels(trained.data.test))
    labels = trained.data.test.labels("model")
    for name, scores in heads.items():
        hits = [int(s.argmax()) == int(y) for s, y in zip(scores, labels)]
        assert metrics[f"{name}_top1"] == pytest.approx(100 * np.mean(hits))
    assert metrics["top1"] == metrics["average_top1"] and metrics["top5"] == 100


def test_a_method_of_one_head_has_its_top1_alone(plain):
    assert set(only(plain, "recognition")[0]) == {"top1", "top5"}


def iou_slowly(a, b):
    cover = [{(x, y) for x in range(round(v[0]), round(v[2])) for y in range(round(v[1]), round(v[3]))} for v in (a, b)]
    return len(cover[0] & cover[1]) / len(cover[0] | cover[1])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["trained", "plain"])
def test_localization_takes_the_threshold_of_the_training_images(kind, request):
    trained = request.getfixturevalue(kind)
    metrics, arrays = only(trained, "localization")

    def ious(images, threshold):
        maps = smoothed(trained.method.location_maps(pixels(images)), 3)  # a sixteenth of 32 pixels, made odd
        return [iou_slowly(box_from_map(m, threshold), b.tolist()) for m, b in zip(maps, images.boxes)]

    def box_error(images, threshold):
        return 100 * np.mean([iou <= 0.5 for iou in ious(images, threshold)])

    train, test = trained.data.train, trained.data.test
    best = min(THRESHOLDS, key=lambda t: box_error(train, t))
    assert metrics["threshold"] == best
    assert metrics["box_error"] == pytest.approx(box_error(test, best))
    right = trained.method.logits(pixels(test)).argmax(1) == test.labels("model")
    wrong = [not r or iou <= 0.5 for r, iou in zip(right, ious(test, best))]
    assert metrics["localization_error"] == pytest.approx(100 * np.mean(wrong))
    assert metrics["mean_iou"] == pytest.approx(np.mean(ious(test, best)))
    np.testing.assert_allclose(arrays["localization_iou"], ious(test, best), atol=1e-3)
    for threshold, error in arrays["localization_box_errors"][::6]:
        assert error == pytest.approx(box_error(test, threshold))
    assert arrays["localization_boxes"].shape == (8, 2, 4) and arrays["localization_boxes"].max() <= 1


def test_boxes_that_are_not_known_cannot_be_measured(plain):
    without = DataSet("parts", plain.data.train, dataclasses.replace(plain.data.test, boxes=None))
    with pytest.raises(ConfigError, match="needs the boxes of objects, and data set 'parts' has none"):
        only(dataclasses.replace(plain, data=without), "localization")


@torch.no_grad()
def test_attention_parts_slowly(trained):
    metrics, arrays = only(trained, "attention_parts")
    test = trained.data.test
    features, attention = trained.method.attend(pixels(test))
    overlaps, dead, spread, total = [], 0, 0.0, 0.0
    for image in attention.flatten(2):
        m = len(image)
        for a in range(m):
            dead += not image[a].any()
            for b in range(a):
                length = image[a].norm() * image[b].norm()
                overlaps.append(float(image[a] @ image[b] / length) if length else 0.0)
    x = features.flatten(1)
    for f, y in zip(x, test.labels("model")):
        spread += float((f - x[test.labels("model") == y].mean(0)).square().sum()) / len(x)
        total += float((f - x.mean(0)).square().sum()) / len(x)
    assert metrics["map_overlap"] == pytest.approx(np.mean(overlaps), rel=1e-4)
    assert metrics["empty_maps"] == pytest.approx(100 * dead / attention.flatten(2).shape[:2].numel())
    assert metrics["within_variance"] == pytest.approx(spread, rel=1e-4)
    assert metrics["within_share"] == pytest.approx(100 * spread / total, rel=1e-4)

    names = [*test.part_boxes, "background"]
    counts = np.zeros((attention.shape[1], len(names)))
    for i, maps in enumerate(bilinear_upsample(attention, (32, 32))):
        for k, values in enumerate(maps):
            if values.max() > 0:
                row, column = divmod(int(values.argmax()), 32)
                own = [j for j, name in enumerate(test.part_boxes) if test.masks[name][i, row, column]]
                counts[k, own[-1] if own else -1] += 1
    table = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    assert arrays["attention_part_names"].tolist() == names
    np.testing.assert_allclose(arrays["attention_parts"], table, atol=1e-3)
    assert metrics["part_consistency"] == pytest.approx(100 * table.max(1).mean(), rel=1e-4)
    assert metrics["on_object"] == pytest.approx(100 * table[:, :-1].sum(1).mean(), rel=1e-4)


def test_a_method_without_maps_has_no_parts(plain):
    assert only(plain, "attention_parts") == ({}, {})


@torch.no_grad()
def test_upsampling_compares_with_the_target_of_each_pair():
    data = DataSet("interpolations", *interpolations(5, images=30, test_images=9))
    names = dataclasses.replace(CONFIG.data, name="interpolations", coarse="interpolation", fine="interpolation")
    config = dataclasses.replace(CONFIG, data=names, method=MethodConfig("upsampler", {"factor": 2, "width": 3}))
    trained = Trained(start(config, data), data, config)
    metrics, arrays = only(trained, "upsampling")
    maps, kinds = pixels(data.test)[:, :1], data.test.labels("interpolation")
    large, linear = trained.method.trunk(maps, (10, 10)), bilinear_upsample(maps, (10, 10))
    squares = {"": [], "bilinear_": []}
    for i, kind in enumerate(kinds.tolist()):
        corners = {} if INTERPOLATIONS[kind] == "nearest" else {"align_corners": False}
        target = torch.nn.functional.interpolate(maps[i : i + 1], (10, 10), mode=INTERPOLATIONS[kind], **corners)[0]
        squares[""].append(((large[i] - target) ** 2).mean().item())
        squares["bilinear_"].append(((linear[i] - target) ** 2).mean().item())
    for prefix, values in squares.items():
        assert metrics[f"{prefix}rmse"] == pytest.approx(np.sqrt(np.mean(values)), rel=1e-4)
        for k, name in enumerate(INTERPOLATIONS):
            own = [v for v, kind in zip(values, kinds) if kind == k]
            assert metrics[f"{prefix}rmse_{name}"] == pytest.approx(np.sqrt(np.mean(own)), rel=1e-4, abs=1e-7)
    assert metrics["bilinear_rmse_bilinear"] < 1e-6 < metrics["bilinear_rmse_nearest"]
    assert arrays["upsampling_outputs"].shape == (6, 10, 10)
