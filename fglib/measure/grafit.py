"""What "Grafit" measures (Sections 3.2, 3.3 and 4.1): on-the-fly classification and category-level retrieval.

Every test image is a query, the training images are the collection, embedded with the final weights. The coarse labels
of the collection are known; its fine labels say which answers are right and are used for nothing else.
"""

import numpy as np
import torch
from torch import Tensor

from fglib.data.hierarchy import ROOT
from fglib.measure.trained import Arrays, Metrics, Trained, evenly, percent, thumbnails
from fglib.retrieval import (
    choose_k,
    conditional_ranking,
    cosine_ranking,
    evaluate_ranking,
    evaluate_retrieval,
    knn_logits,
    knn_probabilities,
    nearest,
    oracle_ranking,
)

QUERIES_AT_ONCE = 256  # a ranking is a table of queries by collection
RANKINGS = ("cos", "cond", "oracle")


def knn(trained: Trained) -> tuple[Metrics, Arrays]:
    """Top-1 of the kNN classifier (Eq. 6) at the coarse and the fine level, and its k.

    k is chosen on a part of the training set by the labels that the method was trained on. The fine accuracy of every
    k is among the arrays, to look at.
    """
    features, names = (trained.train_features, trained.test_features), trained.config.data
    k = _chosen_k(trained, trained.train_features)
    metrics: Metrics = {"knn_k": k}
    metrics |= {f"{kind}_knn": _knn_top1(trained, *features, getattr(names, kind), k) for kind in ("coarse", "fine")}
    ks = (1, 5, 10, 15, 20, 25, 30, 50)
    by_k = [_knn_top1(trained, *features, names.fine, k) for k in ks]
    return metrics, {"knn_ks": np.array(ks), "knn_fine_by_k": np.array(by_k)}


def ranking(trained: Trained, each: int = 3, shown: int = 6) -> tuple[Metrics, Arrays]:
    """Fine mAP and R@1 of the three rankings: by cosine (cos), conditioned (cond, Eq. 5), with the oracle (oracle).

    The arrays hold the average precision of every query in each; pictures of the queries that conditioning raised most
    (first) and lowered most (last); and for reliability the confidence of the coarse classifier behind it and whether
    that is right. `conditioner_ece` is its expected calibration error over ten bins.
    """
    fine, coarse, logits = trained.test_labels("fine"), trained.test_labels("coarse"), _coarse_logits(trained)
    collection = trained.train_labels("fine")
    precision, hits = {name: [] for name in RANKINGS}, dict.fromkeys(RANKINGS, 0.0)
    best = {name: [] for name in RANKINGS}
    items, known_coarse, known = trained.there(trained.train_features, trained.train_labels("coarse"), collection)
    for chunk in zip(*(x.split(QUERIES_AT_ONCE) for x in (trained.test_features, coarse, fine, logits))):
        query, own_coarse, own, scores = trained.there(*chunk)
        rankings = (
            cosine_ranking(query, items),
            conditional_ranking(query, items, known_coarse, scores),
            oracle_ranking(query, items, known_coarse, own_coarse),
        )
        for name, table in zip(RANKINGS, rankings):
            report = evaluate_ranking(table, own, known, ks=(1,))
            precision[name].append(report.average_precision.cpu())
            hits[name] += report.recall_zero_counted[1] * report.num_queries
            best[name].append(table[:, :shown].cpu())
    precision = {name: torch.cat(parts) for name, parts in precision.items()}
    metrics = {f"{name}_map": 100 * float(values.nanmean()) for name, values in precision.items()}
    metrics |= {f"{name}_r1": 100 * count / len(fine) for name, count in hits.items()}
    arrays = {f"ap_{name}": values.numpy().astype(np.float16) for name, values in precision.items()}
    arrays["query_fine"] = fine.numpy().astype(np.int16)

    confidence, guess = logits.softmax(1).max(1)
    right = guess == coarse
    metrics["conditioner_top1"] = percent(right)
    metrics["conditioner_ece"] = 100 * expected_calibration_error(confidence, right)
    arrays["conditioner_confidence"] = confidence.numpy().astype(np.float16)
    arrays["conditioner_right"] = right.numpy()

    gain = (precision["cond"] - precision["cos"]).nan_to_num()
    order = gain.argsort(descending=True, stable=True)
    moved = torch.cat([order[:each], order[-each:]])
    arrays |= {
        "moved_queries": thumbnails(trained.data.test.pixels(moved)),
        "moved_gain": 100 * gain[moved].numpy(),
        "moved_names": trained.class_names("fine")[fine[moved].numpy()],
    }
    for name in ("cos", "cond"):
        found = torch.cat(best[name])[moved]
        pictures = thumbnails(trained.data.train.pixels(found.flatten()))
        arrays[f"moved_{name}"] = pictures.reshape(*found.shape, *pictures.shape[1:])
        arrays[f"moved_{name}_correct"] = (collection[found] == fine[moved, None]).numpy()
    return metrics, arrays


def trunk(trained: Trained) -> tuple[Metrics, Arrays]:
    """Fine kNN top-1 and mAP by cosine of the trunk's features, below the projector where there is one."""
    features, fine = trained.trunk_features, trained.config.data.fine
    return {
        "trunk_knn": _knn_top1(trained, *features, fine, _chosen_k(trained, features[0])),
        "trunk_map": _mean_average_precision(trained, *features, fine),
    }, {}


def levels(trained: Trained) -> tuple[Metrics, Arrays]:
    """kNN top-1 and mAP by cosine at every level of the hierarchy: knn_<level>, map_<level> (Tables 3 and 4)."""
    k = _chosen_k(trained, trained.train_features)
    features = trained.train_features, trained.test_features
    metrics: Metrics = {}
    for level in trained.data.hierarchy.levels:
        if level != ROOT:
            metrics[f"knn_{level}"] = _knn_top1(trained, *features, level, k)
            metrics[f"map_{level}"] = _mean_average_precision(trained, *features, level)
    return metrics, {}


def separation(trained: Trained, neighbours: int = 10, most: int = 5000) -> tuple[Metrics, Arrays]:
    """How the fine classes lie in the test embedding, which a t-SNE can only show.

    fine_silhouette: mean silhouette of the fine labels by cosine distance, from -1 to 1. fine_purity: mean part of the
    `neighbours` nearest test images that have the image's fine label, in percent.
    """
    from sklearn.metrics import silhouette_score

    rows = evenly(len(trained.test_features), most)
    x, fine = trained.test_features[rows], trained.test_labels("fine")[rows]
    found = nearest(x, x, neighbours, exclude=torch.arange(len(x)))
    same = (fine[found] == fine[:, None]).double()[found >= 0]
    return {
        "fine_silhouette": float(silhouette_score(x.double().numpy(), fine.numpy(), metric="cosine")),
        "fine_purity": 100 * float(same.mean()),
    }, {}


def expected_calibration_error(confidence: Tensor, right: Tensor, bins: int = 10) -> float:
    """Mean gap between confidence (n,) and accuracy (n,) bool over equal bins, weighted by their share; a fraction."""
    which = (confidence.double() * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, which, confidence.double() - right.double())
    return float(gap.abs().sum() / len(confidence))


def _coarse_logits(trained: Trained) -> Tensor:
    """Coarse scores (Q, C) of the queries: the method's own classifier, else the kNN classifier over the collection."""
    if hasattr(trained.method, "logits"):
        return trained.test_scores
    temperature = getattr(trained.method, "temperature", 0.05)
    parts = trained.there(trained.test_features, trained.train_features, trained.train_labels("coarse"))
    return knn_logits(*parts, trained.num_classes("coarse"), temperature).cpu()


def _chosen_k(trained: Trained, features: Tensor) -> int:
    """k of the kNN classifier, chosen by the labels that the method was trained on."""
    kind = "fine" if trained.config.use_fine else "coarse"
    return choose_k(*trained.there(features, trained.train_labels(kind)), num_classes=trained.num_classes(kind))[0]


def _knn_top1(trained: Trained, collection: Tensor, query: Tensor, level: str, k: int) -> float:
    """Percent of the test images that the kNN classifier puts into their class of a level."""
    classes, labels = trained.data.hierarchy.num_classes(level), trained.data.train.labels(level)
    guess = knn_probabilities(*trained.there(query, collection, labels), k, num_classes=classes).argmax(1).cpu()
    return percent(guess == trained.data.test.labels(level))


def _mean_average_precision(trained: Trained, collection: Tensor, query: Tensor, level: str) -> float:
    """Percent, by cosine, at a level."""
    parts = trained.there(query, trained.data.test.labels(level), collection, trained.data.train.labels(level))
    return 100 * evaluate_retrieval(*parts, ks=(1,)).mean_average_precision
