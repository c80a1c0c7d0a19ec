"""Retrieval inside the coarse class, restated query by query."""

import dataclasses
import math

import pytest
import torch
from tiny import CONFIG, dataset

from fglib.lab.run import start
from fglib.measure import measure
from fglib.measure.trained import Trained
from fglib.measure.within import _within


def cosine(a, b):
    return float(a @ b / a.norm() / b.norm())


def slowly(query, coarse, fine, gallery=None, gallery_coarse=None, gallery_fine=None):
    """Of every query with a choice and an answer: whether the first is right, average precision, chance."""
    hits, precisions, chances = [], [], []
    for i, x in enumerate(query):
        if gallery is None:
            items = [(query[j], fine[j]) for j in range(len(query)) if j != i and coarse[j] == coarse[i]]
            classes = {int(fine[j]) for j in range(len(query)) if coarse[j] == coarse[i]}
        else:
            items = [(g, f) for g, c, f in zip(gallery, gallery_coarse, gallery_fine) if c == coarse[i]]
            classes = {int(f) for _, f in items}
        right = [f == fine[i] for _, f in sorted(items, key=lambda item: -cosine(x, item[0]))]
        if len(classes) < 2 or not any(right):
            continue
        ranks = [r for r, good in enumerate(right, start=1) if good]
        hits.append(float(right[0]))
        precisions.append(sum(k / r for k, r in enumerate(ranks, start=1)) / len(ranks))
        chances.append(len(ranks) / len(right))
    n = len(hits)
    return {
        "x_r1": 100 * sum(hits) / n,
        "x_map": 100 * sum(precisions) / n,
        "x_chance": 100 * sum(chances) / n,
        "x_queries": 100 * n / len(query),
    }


def example(n, seed):
    """Three coarse classes: two fine ones of unlike size, a single one, three of which one has one image."""
    draw = torch.Generator().manual_seed(seed)
    fine = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5])[torch.randperm(12, generator=draw)].repeat(n)
    return torch.randn(len(fine), 6, generator=draw), torch.tensor([0, 0, 1, 2, 2, 2])[fine], fine


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_search_of_every_query_in_its_class(seed):
    query = example(1, seed)
    assert _within("x", *query) == pytest.approx(slowly(*query))
    gallery = example(3, seed + 10)
    assert _within("x", *query, *gallery) == pytest.approx(slowly(*query, *gallery))


def test_coarse_classes_of_one_fine_class_are_left_out_and_counted():
    x, coarse, fine = example(1, 0)
    assert _within("x", x, coarse, fine)["x_queries"] == pytest.approx(100 * 9 / 12)  # two of class 2, one alone
    alone = _within("x", x, fine, fine)
    assert alone["x_queries"] == 0 and all(math.isnan(alone[name]) for name in ("x_r1", "x_map", "x_chance"))


def test_perfect_and_collapsed_features():
    _, coarse, fine = example(2, 0)
    perfect = torch.eye(6)[fine]
    assert _within("x", perfect, coarse, fine)["x_r1"] == 100 == _within("x", perfect, coarse, fine)["x_map"]
    # features that know the coarse class alone: the overall search is no better than guessing inside the class
    collapsed = torch.eye(3)[coarse] + 1e-3 * torch.randn(len(coarse), 3, generator=torch.Generator().manual_seed(0))
    found = _within("x", collapsed, coarse, fine)
    assert abs(found["x_r1"] - found["x_chance"]) < 35 < 100 - found["x_chance"]


def test_as_measures_of_a_trained_method():
    data = dataset()
    config = dataclasses.replace(CONFIG, measure=("within", "collection"))
    trained = Trained(start(config, data), data, config)
    metrics, arrays = measure(trained)
    assert arrays == {} and set(metrics) == {
        *(f"within_{k}" for k in ("r1", "map", "chance", "queries")),
        *(f"collection_within_{k}" for k in ("r1", "map", "chance", "queries")),
        "collection_r1",
        "collection_map",
    }
    x = trained.test_features, trained.test_labels("coarse"), trained.test_labels("fine")
    y = trained.train_features, trained.train_labels("coarse"), trained.train_labels("fine")
    for name, expected in (("within", slowly(*x)), ("collection_within", slowly(*x, *y))):
        assert {k: metrics[f"{name}_{k}"] for k in ("r1", "map", "chance", "queries")} == pytest.approx(
            {k: expected[f"x_{k}"] for k in ("r1", "map", "chance", "queries")}
        )
