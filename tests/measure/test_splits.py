"""Which split, level and features a measure reads: training images and test images have other labels here."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import CONFIG, dataset, ready

from fglib.config import MethodConfig
from fglib.data.images import DataSet
from fglib.inference import embed
from fglib.lab.run import start
from fglib.measure import Trained, measure, theory
from fglib.measure.coarse2fine import _attended
from fglib.measure.subtle import _corners, object_regions
from fglib.measure.trained import percent, thumbnails


def pixels(images):
    return images.images.float() / 255


@torch.no_grad()
@pytest.mark.parametrize("name", ["baseline", "snca_plus"])
def test_features_and_labels_are_of_the_split_that_is_named(name):
    data = dataset()
    config = dataclasses.replace(CONFIG, method=MethodConfig(name))
    method = start(config, data).eval()
    trained = Trained(method, data, config)
    train, test = pixels(data.train), pixels(data.test)
    torch.testing.assert_close(trained.train_features, method.embed(train))
    torch.testing.assert_close(trained.test_features, method.embed(test))
    collection, query = trained.trunk_features
    torch.testing.assert_close(collection, method.trunk(train))
    torch.testing.assert_close(query, method.trunk(test))
    for kind, level, count in (("coarse", "big", 3), ("fine", "small", 6)):
        assert torch.equal(trained.train_labels(kind), data.train.labels(level))
        assert torch.equal(trained.test_labels(kind), data.test.labels(level))
        assert trained.num_classes(kind) == count


def with_fewer_tests(count):
    """Twenty-five training images and fewer test images."""
    data = dataset()
    return DataSet("fewer", data.train, data.test.subset(range(count)))


@torch.no_grad()
def test_accuracy_is_of_the_test_images_at_the_level_that_is_trained_on():
    """Six classes, so that the five best are not all."""
    data = with_fewer_tests(17)
    names = dataclasses.replace(CONFIG.data, coarse="small", fine="big")
    config = dataclasses.replace(CONFIG, data=names, method=MethodConfig("plain"), measure=("accuracy", "recognition"))
    method = start(config, data).eval()
    metrics, _ = measure(Trained(method, data, config))
    places = []  # how many classes have a higher score than the own one
    for scores, label in zip(method.logits(pixels(data.test)), data.test.labels("small")):
        places.append(int((scores > scores[label]).sum()))
    top1, top5 = (100 * np.mean([place < k for place in places]) for k in (1, 5))
    assert 0 < top1 < top5 < 100
    for name in ("", "coarse_"):
        assert metrics[f"{name}top1"] == pytest.approx(top1) and metrics[f"{name}top5"] == pytest.approx(top5)


def test_wide_retrieval_is_fine_recall_among_the_first_1_10_100_and_1000():
    method, _, config = ready("base")
    data = with_fewer_tests(20)
    trained = Trained(method, data, dataclasses.replace(config, measure=("wide_retrieval",)))
    trained.test_features = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    metrics, arrays = measure(trained)
    x = torch.nn.functional.normalize(trained.test_features.double(), dim=1)
    fine = data.test.labels("small")
    best = []  # rank of the first right answer, of queries that have one
    for i in range(20):
        order = sorted((j for j in range(20) if j != i), key=lambda j: (-float(x[i] @ x[j]), j))
        best += [rank for rank, j in enumerate(order, 1) if fine[j] == fine[i]][:1]
    for k in (1, 10, 100, 1000):
        assert metrics[f"fine_r{k}"] == pytest.approx(100 * np.mean([rank <= k for rank in best]))
    assert 0 < metrics["fine_r1"] < metrics["fine_r10"] and metrics["fine_r100"] == 100
    assert "fine_r2" not in metrics and "fine_map" not in metrics and arrays == {}


def test_the_theorems_are_measured_on_features_heads_and_labels_of_the_training_images():
    method, train, config = ready("base_indi")
    data = with_fewer_tests(17)
    metrics, _ = measure(Trained(method, data, dataclasses.replace(config, measure=("bounds",))))
    heads = method.instance_head.weight.detach(), method.super_head.weight.detach()
    given = embed(method, data.train), *heads, data.train.labels("big"), data.train.labels("small")
    for number, theorem in ((1, theory.theorem_1), (2, theory.theorem_2)):
        for key, value in theorem(*given).items():
            assert metrics[f"theorem{number}_{key}"] == pytest.approx(float(value))
            assert type(metrics[f"theorem{number}_{key}"]) is float


@pytest.mark.parametrize("name", ["base", "indi"])
def test_without_both_heads_there_is_no_bound(name):
    method, _, config = ready(name)
    assert measure(Trained(method, dataset(), dataclasses.replace(config, measure=("bounds",)))) == ({}, {})


def test_errors_with_a_sibling_are_counted_and_not_the_others():
    """One of four errors stays with a sibling."""
    data = dataset()
    labels = data.test.labels("small")
    told = labels.clone()
    told[:4] = torch.stack([labels[0] ^ 1, *((labels[1:4] + 2) % 6)])

    class Told(torch.nn.Module):
        def logits(self, images):
            return torch.nn.functional.one_hot(told, 6)

    names = dataclasses.replace(CONFIG.data, coarse="small")
    config = dataclasses.replace(CONFIG, data=names, method=MethodConfig("plain"), measure=("confusions",))
    metrics, arrays = measure(Trained(Told(), data, config))
    assert metrics == {"sibling_errors": 25.0} and arrays["confusions"][:, 2].sum() == 4


def test_images_that_are_wider_than_high():
    """Corners are parts of their own side, boxes count columns along x."""
    region = torch.zeros(4, 10, dtype=torch.bool)
    region[1:3, 5:7] = True
    assert _corners(region[None])[0].tolist() == pytest.approx([0.5, 0.25, 0.7, 0.75])
    wide = dataset().test.subset([0])
    wide = dataclasses.replace(wide, images=wide.images[:, :, :4, :10], boxes=torch.tensor([[5.0, 1, 7, 3]]), masks={})
    assert torch.equal(object_regions("wide", wide, torch.tensor([0]))[0], region)
    assert thumbnails(torch.zeros(1, 3, 60, 100)).shape == (1, 20, 33, 3)


def test_the_part_of_a_map_is_the_one_its_peak_lies_in():
    """Three maps of three images of 2 x 2 places: parts above and below on the left, background on the right."""
    above, below = torch.zeros(2, 3, 2, 2, dtype=torch.bool)
    above[:, 0, 0] = below[:, 1, 0] = True
    attention = torch.full((3, 3, 2, 2), 0.1)
    attention[:, 0, 0, 0] = 0.9  # always above
    attention[0, 1, 1, 0] = attention[1, 1, 0, 1] = 0.2  # below, background, and nothing in the third image
    attention[2, 1] = 0.0
    attention[:, 2] = 0.0
    table = _attended(attention, {"above": above, "below": below})
    assert table.tolist() == [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 0]]


def test_shares_and_pictures():
    assert percent(torch.tensor([True, False, False, False])) == 25
    assert np.isnan(percent(torch.zeros(0, dtype=torch.bool)))
    picture = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    small = thumbnails(picture)  # small enough: the pixels themselves
    assert small.dtype == np.uint8 and np.array_equal(small, picture.permute(0, 2, 3, 1).numpy())
    halved = thumbnails(picture.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert halved.dtype == np.uint8 and np.array_equal(halved, small)
    assert thumbnails(picture[:, :, :1, :1].expand(-1, -1, 49, 49)).shape == (2, 24, 24, 3)
    assert thumbnails(torch.tensor([[0.0, 1], [1, 1]]).expand(1, 3, 2, 2), most=1).tolist() == [[[[1, 1, 1]]]]
