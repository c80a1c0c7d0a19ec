"""The record of a ranking, number by number: hits, calibration, and the queries that conditioning moved."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from tiny import CONFIG

from fglib.config import MethodConfig
from fglib.data.images import DataSet
from fglib.data.made.patches import nested_patches
from fglib.measure import Trained, measure
from fglib.measure.grafit import RANKINGS

QUERIES, IMAGES = 21, 40


class Network(torch.nn.Module):
    """The pixels in the first row of an image hold its features (4) and, where it classifies, its coarse scores (3)."""

    def embed(self, images):
        return images[:, 0, 0, :4] * 2 - 1


class Classifier(Network):
    def logits(self, images):
        return images[:, 0, 0, 4:7] * 6 - 3


@pytest.fixture(scope="module", params=[Network, Classifier])
def record(request):
    """(trained, metrics, arrays), and what is behind them: cosines (Q, n) and coarse logits (Q, 3) in float64."""
    draw = torch.Generator().manual_seed(4)
    parts = []
    for part in nested_patches(16, classes=3, children=2, images=IMAGES):
        images = part.images.clone()
        images[:, 0, 0, :7] = torch.randint(0, 256, (IMAGES, 7), generator=draw).byte()
        parts.append(dataclasses.replace(part, images=images))
    train, test = parts
    data = DataSet("points", train, test.subset(range(QUERIES)))
    config = dataclasses.replace(CONFIG, method=MethodConfig("snca"), measure=("ranking",))
    trained = Trained(request.param(), data, config)
    metrics, arrays = measure(trained)
    x, y = (part.images[:, 0, 0, :4].double() / 127.5 - 1 for part in (data.test, data.train))
    cosine = torch.nn.functional.normalize(x, dim=1) @ torch.nn.functional.normalize(y, dim=1).T
    if request.param is Classifier:
        logits = data.test.images[:, 0, 0, 4:7].double() / 255 * 6 - 3
    else:  # all images of a class vote for it
        coarse = train.labels("big")
        logits = torch.stack([torch.logsumexp(cosine[:, coarse == c] / 0.05, 1) for c in range(3)], 1)
    return trained, metrics, arrays, cosine, logits


def orders(record, name):
    """Rows of the collection, best first, for every query."""
    trained, _, _, cosine, logits = record
    coarse, own = trained.data.train.labels("big"), trained.data.test.labels("big")
    for q in range(QUERIES):
        scores = cosine[q].clone()
        for j, c in enumerate(coarse.tolist()):
            if name == "cond":  # log of p / (1 - p)
                p = logits[q].softmax(0)[c].item()
                scores[j] += math.log(p / (1 - p))
            if name == "oracle":
                scores[j] += 10.0 * (c == own[q])
        yield sorted(range(IMAGES), key=lambda j: (-scores[j].item(), j))


def precisions(record, name):
    """Average precision of every query, NaN where nothing is relevant."""
    fine, known = record[0].data.test.labels("small"), record[0].data.train.labels("small")
    for y, order in zip(fine, orders(record, name)):
        ranks = [rank for rank, j in enumerate(order, 1) if known[j] == y]
        yield np.mean([i / rank for i, rank in enumerate(ranks, 1)]) if ranks else math.nan


@pytest.mark.parametrize("name", RANKINGS)
def test_hits_and_precisions(record, name):
    trained, metrics, arrays, *_ = record
    fine, known = trained.data.test.labels("small"), trained.data.train.labels("small")
    hits = [bool(known[order[0]] == y) for y, order in zip(fine, orders(record, name))]
    assert metrics[f"{name}_r1"] == pytest.approx(100 * np.mean(hits)) and 0 < np.mean(hits) < 1
    expected = list(precisions(record, name))
    assert metrics[f"{name}_map"] == pytest.approx(100 * np.nanmean(expected), rel=1e-5)
    np.testing.assert_allclose(arrays[f"ap_{name}"].astype(float), expected, atol=1e-3)
    assert arrays["query_fine"].tolist() == fine.tolist()


def test_the_conditioner_and_its_calibration(record):
    trained, metrics, arrays, _, logits = record
    confidence, told = logits.softmax(1).max(1)
    right = told == trained.data.test.labels("big")
    gap = 0.0
    for k in range(10):
        inside = [i for i, p in enumerate(confidence.tolist()) if min(int(10 * p), 9) == k]
        if inside:
            gap += abs(sum(confidence[i].item() - right[i].item() for i in inside)) / QUERIES
    assert metrics["conditioner_ece"] == pytest.approx(100 * gap, rel=1e-4) and gap > 0.01
    assert metrics["conditioner_top1"] == pytest.approx(100 * right.double().mean().item())
    np.testing.assert_allclose(arrays["conditioner_confidence"].astype(float), confidence, atol=1e-3)
    assert arrays["conditioner_right"].tolist() == right.tolist()


def test_the_queries_that_were_raised_and_lowered_most_and_what_they_found(record):
    trained, _, arrays, *_ = record
    test, train = trained.data.test, trained.data.train
    gain = np.nan_to_num(np.array(list(precisions(record, "cond"))) - np.array(list(precisions(record, "cos"))))
    order = sorted(range(QUERIES), key=lambda i: (-round(gain[i], 9), i))
    moved = [*order[:3], *order[-3:]]
    np.testing.assert_allclose(arrays["moved_gain"], 100 * gain[moved], atol=1e-4)
    assert arrays["moved_gain"][2] > 0 > arrays["moved_gain"][3]

    def pictures(images, rows):
        return images.images[list(rows)].permute(0, 2, 3, 1).numpy()

    assert np.array_equal(arrays["moved_queries"], pictures(test, moved))
    fine, known = test.labels("small"), train.labels("small")
    names = trained.data.hierarchy.classes["small"]
    assert arrays["moved_names"].tolist() == [names[fine[i]] for i in moved]
    for name in ("cos", "cond"):
        ranked = list(orders(record, name))
        for i, found, correct in zip(moved, arrays[f"moved_{name}"], arrays[f"moved_{name}_correct"]):
            assert np.array_equal(found, pictures(train, ranked[i][:6]))
            assert correct.tolist() == [bool(known[j] == fine[i]) for j in ranked[i][:6]]


def test_rankings_chunk_by_chunk_are_those_at_once(record, monkeypatch):
    trained, metrics, arrays, *_ = record
    monkeypatch.setattr("fglib.measure.grafit.QUERIES_AT_ONCE", 8)
    again, chunked = measure(trained)
    assert again == pytest.approx(metrics) and all(np.array_equal(arrays[k], chunked[k]) for k in arrays)
