"""The k of the kNN classifier: of features with which coarse and fine labels choose different ones."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from tiny import CONFIG

from fglib.config import MethodConfig
from fglib.data.images import DataSet
from fglib.data.made.patches import nested_patches
from fglib.measure import Trained, measure
from fglib.retrieval import choose_k, knn_probabilities


def points(labels, draw):
    """Features (n, 3) whose classes overlap; with the seed below a few more neighbours suit the coarse labels."""
    angle = (labels // 2) * 0.5 + (labels % 2) * 0.12 + 0.6 * torch.randn(len(labels), generator=draw)
    return torch.stack([angle.cos(), angle.sin(), torch.full_like(angle, 0.2)], 1)


class Network(torch.nn.Module):
    """The first three pixels of an image hold its features; those of the trunk are apart, as there is a projector."""

    projector = None

    def trunk(self, images):
        return images[:, 0, 0, :3] * 2 - 1

    embed = trunk


@pytest.fixture(scope="module")
def data():
    draw = torch.Generator().manual_seed(2)
    splits = []
    for part in nested_patches(16, classes=3, children=2, images=90):
        images = part.images.clone()
        images[:, 0, 0, :3] = ((points(part.labels("small"), draw) + 1) * 127.5).round().byte()
        splits.append(dataclasses.replace(part, images=images))
    return DataSet("points", *splits)


@pytest.fixture(params=[False, True], ids=["hidden", "seen"])
def chosen(request, data):
    """(measured, the k that must be chosen, the other one); fine labels hidden from the method, or seen."""
    seen = request.param
    config = dataclasses.replace(
        CONFIG, method=MethodConfig("fine" if seen else "snca"), use_fine=seen, measure=("knn", "trunk", "levels")
    )
    trained = Trained(Network(), data, config)
    features = trained.train_features
    assert len(features.unique(dim=0)) > 60
    ks = {
        kind: choose_k(features, trained.train_labels(kind), num_classes=trained.num_classes(kind))[0]
        for kind in ("coarse", "fine")
    }
    assert ks["coarse"] != ks["fine"]
    return trained, ks["fine" if seen else "coarse"], ks["coarse" if seen else "fine"]


def top1(trained, level, k):
    classes = trained.data.hierarchy.num_classes(level)
    labels = trained.data.train.labels(level)
    probability = knn_probabilities(trained.test_features, trained.train_features, labels, k, num_classes=classes)
    return 100 * (probability.argmax(1) == trained.data.test.labels(level)).double().mean().item()


def test_k_is_chosen_by_the_labels_of_the_training_alone(chosen):
    trained, own, other = chosen
    metrics, arrays = measure(trained)
    for level in ("small", "big"):
        assert top1(trained, level, own) != top1(trained, level, other)  # or the wrong one would pass
    assert metrics["knn_k"] == own
    for names, level in ((("fine_knn", "trunk_knn", "knn_small"), "small"), (("coarse_knn", "knn_big"), "big")):
        for name in names:
            assert metrics[name] == pytest.approx(top1(trained, level, own))
    assert arrays["knn_ks"].tolist() == [1, 5, 10, 15, 20, 25, 30, 50]
    for k, accuracy in zip(arrays["knn_ks"].tolist(), arrays["knn_fine_by_k"].tolist()):
        assert accuracy == pytest.approx(top1(trained, "small", k))


def test_the_trunk_chooses_its_own_k(data):
    """By its own features, which are not those that images are retrieved by."""
    config = dataclasses.replace(CONFIG, method=MethodConfig("snca"), measure=("knn", "trunk"))
    trained = Trained(Network(), data, config)
    trained.train_features = F.one_hot(trained.train_labels("coarse")).float()  # the smallest k is as good as any
    trained.test_features = F.one_hot(trained.test_labels("coarse")).float()
    metrics, _ = measure(trained)
    trunk = Trained(trained.method, data, config)
    own = choose_k(trunk.train_features, trunk.train_labels("coarse"), num_classes=3)[0]
    assert metrics["knn_k"] == 10 != own
    assert metrics["trunk_knn"] == pytest.approx(top1(trunk, "small", own)) != top1(trunk, "small", 10)
