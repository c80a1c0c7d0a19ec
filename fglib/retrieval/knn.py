"""Classification by nearest neighbours, without training on the classes.

"Grafit" (Touvron et al.), Section 3.3. With x_1, ..., x_k the items of a labelled memory nearest to a query x:

    Eq. 6    p(x, y) proportional to  sum over j <= k with y_j = y of  exp(cos(x, x_j) / temperature)

Its logarithm is the logit of class y, so p is the softmax of these logits. Neighbours are exact; among items of equal
cosine the one of the lower row is nearer.

Sizes: Q queries, n items in the memory, d dimensions, C classes.
"""

from collections.abc import Iterator, Sequence
from math import inf

import torch
from torch import Tensor

from fglib.retrieval.inputs import class_labels, count, counts, unit, unit_pair
from fglib.retrieval.similarity import CHUNK_BYTES, rank_first, similarities


def knn_probabilities(
    query: Tensor, memory: Tensor, labels: Tensor, k: int, temperature: float = 0.05, *, num_classes: int
) -> Tensor:
    """(Q, C) float64 probabilities of the kNN classifier, "Grafit", Eq. 6.

    query: (Q, d) and memory: (n, d) embeddings of any length but zero; labels: (n,) integers from 0 to
    num_classes - 1. A k beyond n means all. A class without any neighbour has probability 0. ValueError for shapes,
    numbers and labels that do not fit.
    """
    k = count("k", k)
    return knn_logits(query, memory, labels, num_classes, temperature, k).softmax(1)


@torch.no_grad()
def knn_logits(
    query: Tensor,
    memory: Tensor,
    labels: Tensor,
    num_classes: int,
    temperature: float = 0.05,
    k: int | None = None,
    exclude: Tensor | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Tensor:
    """(Q, C) float64: of each class, logsumexp(cosine / temperature) over its items among the k nearest of the memory.

    Without k all items count, which is the classifier that the kNN loss trains. A class without any item is minus
    infinity. exclude: (Q,) memory row to leave out for each query, -1 for none; a query with nothing left is minus
    infinity everywhere. `chunk_bytes` bounds the memory beyond arguments and result. The rest, and the errors, as in
    `knn_probabilities`.
    """
    query, memory, exclude = unit_pair(query, memory, exclude, "memory")
    num_classes = count("num_classes", num_classes)
    labels = _check(memory, "memory", labels, num_classes, temperature)
    k = None if k is None else count("k", k)
    logits = torch.empty(len(query), num_classes, dtype=torch.float64, device=query.device)
    for rows, cosine, neighbour in _neighbours(query, memory, exclude, k, chunk_bytes):
        logits[rows] = _logsumexp_by_class(cosine / temperature, labels[neighbour], num_classes)
    return logits


@torch.no_grad()
def choose_k(
    features: Tensor,
    labels: Tensor,
    ks: Sequence[int] = (10, 15, 20, 25, 30),
    *,
    num_classes: int,
    temperature: float = 0.05,
    fraction: float = 0.2,
    seed: int = 0,
) -> tuple[int, dict[int, float]]:
    """The k with which a part of the training set is classified best by the rest, and the top-1 accuracy of each k.

    features: (n, d) embeddings and labels: (n,) integers from 0 to num_classes - 1, both of the training set. The
    labels must be those that the method was trained on, coarse ones for a coarse-trained method: then labels that are
    hidden from it decide nothing. `fraction` of the items, drawn with `seed`, are the queries. Accuracies are
    fractions in [0, 1]; the smallest of equally good ks is chosen. ValueError for input that does not fit.
    """
    ks, num_classes = counts("ks", ks), count("num_classes", num_classes)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction!r}, must lie between 0 and 1")
    features = unit(features, "features")
    if len(features) == 1:
        raise ValueError(f"features has shape {tuple(features.shape)}: one row cannot be split into queries and memory")
    labels = _check(features, "features", labels, num_classes, temperature)
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed)).to(features.device)
    apart = min(max(1, round(fraction * len(features))), len(features) - 1)
    held_out, kept = order[:apart], order[apart:].sort().values
    nothing = torch.full_like(held_out, -1)
    hits = dict.fromkeys(ks, 0)
    for rows, cosine, neighbour in _neighbours(features[held_out], features[kept], nothing, max(ks), CHUNK_BYTES):
        scores, classes = cosine / temperature, labels[kept[neighbour]]
        for k in hits:
            logits = _logsumexp_by_class(scores[:, :k], classes[:, :k], num_classes)
            hits[k] += int((logits.argmax(1) == labels[held_out[rows]]).sum())
    accuracy = {k: right / apart for k, right in hits.items()}
    return max(sorted(accuracy), key=accuracy.get), accuracy


def _neighbours(
    query: Tensor, memory: Tensor, exclude: Tensor, k: int | None, chunk_bytes: int
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each chunk of queries its rows, and (q, k) float64 cosines and memory rows of the k nearest, nearest first.

    Without k, all items in order of row. A left out item has a cosine of minus infinity.
    """
    n = len(memory)
    every = torch.arange(n, device=memory.device)
    for rows, similarity in similarities(query, memory, exclude, chunk_bytes):
        neighbour = every.expand(len(similarity), n) if k is None else rank_first(similarity, min(k, n))
        yield rows, similarity.gather(1, neighbour).double(), neighbour


def _logsumexp_by_class(scores: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """(q, C) logsumexp of the scores (q, m) of each class; labels: (q, m). Minus infinity where there is none.

    Each class is shifted by its own maximum: with one for all, the exponentials of a distant class would be zero.
    """
    peak = scores.new_full((len(scores), num_classes), -inf).scatter_reduce_(1, labels, scores, "amax")
    shift = peak.masked_fill(peak == -inf, 0.0)  # -inf - -inf is not a number
    total = torch.zeros_like(peak).scatter_add_(1, labels, (scores - shift.gather(1, labels)).exp_())
    return total.log_().add_(shift)


def _check(items: Tensor, name: str, labels: Tensor, num_classes: int, temperature: float) -> Tensor:
    """The labels of the items as int64. ValueError for numbers and labels that do not fit."""
    if not 0 < temperature < inf:
        raise ValueError(f"temperature is {temperature!r}, must be a positive number")
    return class_labels(labels, items, "labels", name, num_classes)
