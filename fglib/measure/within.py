"""How much fine information is left, whatever happened to the coarse one: retrieval inside the query's coarse class.

Where a coarse class has a single fine class every answer is right. Queries of such classes are left out of what is
measured within, and counted.
"""

import math

import torch
from torch import Tensor

from fglib.measure.trained import Arrays, Metrics, Trained
from fglib.retrieval import evaluate_retrieval


def within(trained: Trained) -> tuple[Metrics, Arrays]:
    """Test images among themselves, each ranked against those of its own coarse class; percent.

    within_r1, within_map: fine Recall@1 and mAP over the queries that have a choice and an answer. within_chance: what
    within_r1 is at random. within_queries: their share of the test images.
    """
    return _within("within", trained.test_features, trained.test_labels("coarse"), trained.test_labels("fine")), {}


def collection(trained: Trained) -> tuple[Metrics, Arrays]:
    """Test images against the training images, which are the collection of a search; percent.

    collection_r1, collection_map: fine Recall@1 and mAP over everything. collection_within_r1 and its likes: inside the
    query's own coarse class, as in `within`.
    """
    query, gallery = trained.test_features, trained.train_features
    fine, known = trained.test_labels("fine"), trained.train_labels("fine")
    report = evaluate_retrieval(query, fine, gallery, known, ks=(1,))
    coarse, classes = trained.test_labels("coarse"), trained.train_labels("coarse")
    return {
        "collection_r1": 100 * report.recall[1],
        "collection_map": 100 * report.mean_average_precision,
        **_within("collection_within", query, coarse, fine, gallery, classes, known),
    }, {}


def _within(name: str, query: Tensor, coarse: Tensor, fine: Tensor, *gallery: Tensor) -> Metrics:
    """Metrics of a search class by class in a gallery (features, coarse, fine), else in the queries but for itself."""
    items, items_coarse, items_fine = gallery or (query, coarse, fine)
    own = 0 if gallery else 1  # a query is not its own answer
    hits, precision, chance = 0.0, [], []
    for label in coarse.unique():
        rows, among = ((labels == label).nonzero().flatten() for labels in (coarse, items_coarse))
        there = items_fine[among]
        if len(there.unique()) < 2:
            continue
        search = (items[among], there) if gallery else ()
        report = evaluate_retrieval(query[rows], fine[rows], *search, ks=(1,))
        answered = ~report.average_precision.isnan()
        hits += report.recall[1] * int(answered.sum()) if answered.any() else 0.0
        precision.append(report.average_precision[answered])
        right = (fine[rows][:, None] == there).sum(1) - own
        chance.append((right.double() / (len(among) - own))[answered])
    count = sum(map(len, precision))
    means = [torch.cat(values).mean().item() if count else math.nan for values in (precision, chance)]
    return {
        f"{name}_r1": 100 * hits / count if count else math.nan,
        f"{name}_map": 100 * means[0],
        f"{name}_chance": 100 * means[1],
        f"{name}_queries": 100 * count / len(fine),
    }
