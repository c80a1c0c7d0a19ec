"""Image retrieval: every query ranks the gallery by cosine, and an item is relevant when it has the query's label.

Recall@k is the fraction of queries with a relevant item among the k first. The average precision of a query with R
relevant items at ranks r_1 < ... < r_R is (1/R) sum_i i / r_i, over the whole ranking; mAP is its mean.

Ranking is exact: similarities are compared in float32, equal ones go by ascending gallery row. A query without any
relevant item cannot be answered; it is skipped and counted, and `recall_zero_counted` is what recall would be with
such queries counted as misses.

Sizes: Q queries, n gallery items, d dimensions. Queries are taken in chunks, so that no Q x n table is ever held.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_BYTES = 256 * 2**20
_BYTES_PER_PAIR = 64  # what one query-gallery pair takes at most while it is ranked and scored
_BLOCK = 64  # neighbouring gallery rows of which only the best is looked at first
_TILE = 16  # queries go into the product in multiples of this
_COLUMN = 0xFFFFFFFF  # the lower half of a packed integer


@dataclass(frozen=True)
class RetrievalReport:
    """Fractions in [0, 1]. Means are over the queries that have a relevant item, NaN when there is none."""

    recall: dict[int, float]
    recall_zero_counted: dict[int, float]  # over all queries, skipped ones count as misses
    mean_average_precision: float  # NaN also when it was not asked for
    average_precision: Tensor | None  # (Q,) float64, NaN where skipped
    num_queries: int  # the skipped ones included
    num_skipped: int


@torch.no_grad()
def evaluate_retrieval(
    query: Tensor,
    query_labels: Tensor,
    gallery: Tensor | None = None,
    gallery_labels: Tensor | None = None,
    ks: Sequence[int] = (1, 2, 4, 8),
    exclude: Tensor | None = None,
    average_precision: bool = True,
    chunk_bytes: int = CHUNK_BYTES,
) -> RetrievalReport:
    """Recall@k and mean average precision of retrieval by cosine.

    query: (Q, d) embeddings of any length but zero; query_labels: (Q,) integers; gallery: (n, d) and gallery_labels:
    (n,) likewise. Without a gallery each query is ranked against the other queries. exclude: (Q,) gallery row to leave
    out for each query, -1 for none. A k beyond the gallery means all of it. `average_precision=False` computes recall
    alone, many times faster. `chunk_bytes` bounds the memory beyond the arguments and their copies of unit length, at
    one query at a time at least. ValueError for shapes that do not fit and for embeddings that are zero or not finite.
    """
    if not ks or any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in ks):
        raise ValueError(f"ks is {ks!r}, must be integers of at least 1")
    if gallery is None:
        if gallery_labels is not None or exclude is not None:
            raise ValueError("gallery_labels and exclude need a gallery: without one each query leaves itself out")
        query = gallery = _unit(query, "query")
        query_labels = gallery_labels = _labels(query_labels, query, "query_labels", "query")
        exclude = torch.arange(len(query), device=query.device)
    else:
        query, gallery, exclude = _prepare(query, gallery, exclude)
        query_labels = _labels(query_labels, query, "query_labels", "query")
        gallery_labels = _labels(gallery_labels, gallery, "gallery_labels", "gallery")

    n, padded = len(gallery), _pad(gallery, _BLOCK)
    first, precision = [], []
    for rows in _chunks(query, padded, chunk_bytes):
        similarity = _similarity(query[rows], padded, n, exclude[rows])
        ranking = _rank(similarity)[:, :n] if average_precision else _rank_first(similarity, min(max(ks), n))
        relevant = gallery_labels[ranking] == query_labels[rows, None]
        relevant &= ranking != exclude[rows, None]
        first_of_chunk, precision_of_chunk = _score(relevant)
        first.append(first_of_chunk)
        precision.append(precision_of_chunk)
    answerable = _count_relevant(query_labels, gallery_labels, exclude) > 0
    return _report(torch.cat(first), torch.cat(precision) if average_precision else None, answerable, ks)


@torch.no_grad()
def nearest(
    query: Tensor, gallery: Tensor, k: int, exclude: Tensor | None = None, chunk_bytes: int = CHUNK_BYTES
) -> Tensor:
    """(Q, min(k, n)) gallery rows of the k nearest items of each query by cosine, nearest first.

    Arguments and errors as in `evaluate_retrieval`. A left out item is never among them: where fewer than k items
    remain, the place is -1.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"k is {k!r}, must be an integer of at least 1")
    query, gallery, exclude = _prepare(query, gallery, exclude)
    n, padded = len(gallery), _pad(gallery, _BLOCK)
    found = [
        _rank_first(_similarity(query[rows], padded, n, exclude[rows]), min(k, n))
        for rows in _chunks(query, padded, chunk_bytes)
    ]
    found = torch.cat(found)
    return found.masked_fill(found == exclude[:, None], -1)


def summary(report: RetrievalReport, prefix: str) -> dict[str, float]:
    """Flat metrics in percent: {prefix}_r1, ..., {prefix}_map where measured, and {prefix}_skipped.

    The zero-counted recall is {prefix}_r1 * (1 - {prefix}_skipped / 100).
    """
    metrics = {f"{prefix}_r{k}": 100 * value for k, value in report.recall.items()}
    if report.average_precision is not None:
        metrics[f"{prefix}_map"] = 100 * report.mean_average_precision
    metrics[f"{prefix}_skipped"] = 100 * report.num_skipped / report.num_queries
    return metrics


def _similarity(query: Tensor, gallery: Tensor, n: int, exclude: Tensor) -> Tensor:
    """(q, len(gallery)) cosines of unit vectors; the columns from n on and the items to leave out are minus infinity.

    BLAS adds the last few rows and columns of a product in another order than the rest, so that equal items would
    differ in the last bit there, and a result would depend on the chunk. Rows of zeros keep all items off the edge.
    """
    with torch.autocast(query.device.type, enabled=False):
        similarity = (_pad(query, _TILE) @ gallery.T)[: len(query)]
    similarity[:, n:] = -torch.inf
    rows = (exclude >= 0).nonzero().squeeze(1)
    similarity[rows, exclude[rows]] = -torch.inf
    return similarity


def _rank(similarity: Tensor) -> Tensor:
    """Columns from the most similar to the least, equal ones in ascending order. Overwrites its argument.

    A float and its column are packed into one integer, so that a single sort of integers settles value and tie.
    """
    packed = _pack(similarity, torch.arange(similarity.shape[1], device=similarity.device))
    return packed.sort(dim=1).values.bitwise_and_(_COLUMN)


def _rank_first(similarity: Tensor, k: int) -> Tensor:
    """The k first columns of `_rank`, or all, without ranking the rest.

    The k best items lie in the k blocks of neighbouring columns whose best items are best, blocks with equal best
    items taken in ascending order. So it takes a maximum over each block and two short sorts.
    """
    best = similarity.view(len(similarity), -1, _BLOCK).amax(2)  # (q, blocks)
    block = _top(best, torch.arange(best.shape[1], device=best.device), k)
    columns = (block[:, :, None] * _BLOCK + torch.arange(_BLOCK, device=block.device)).flatten(1)
    return _top(similarity.gather(1, columns), columns, k)


def _top(similarity: Tensor, columns: Tensor, k: int) -> Tensor:
    """The k columns of highest similarity, or all, equal ones in ascending order. Overwrites `similarity`."""
    packed = _pack(similarity, columns)
    return packed.topk(min(k, packed.shape[1]), largest=False).values.bitwise_and_(_COLUMN)


def _pack(similarity: Tensor, columns: Tensor) -> Tensor:
    """int64 that ascend as similarity descends, and with the column where similarities are equal.

    The bits of a float, read as an integer, ascend with the float when it is positive and descend when it is negative.
    """
    bits = similarity.add_(0.0).view(torch.int32)  # -0.0 becomes 0.0: they are equal
    packed = (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits).bitwise_not_().long()
    return packed.bitwise_left_shift_(32).bitwise_or_(columns)


def _score(relevant: Tensor) -> tuple[Tensor, Tensor]:
    """Rank of the first relevant item (infinite without one) and average precision (NaN without one), both (q,).

    relevant: (q, n) bool in order of rank. Cut short, it still gives the rank of a first relevant item within.
    """
    row, rank = relevant.nonzero(as_tuple=True)
    count = row.bincount(minlength=len(relevant))
    start = count.cumsum(0) - count
    rank = rank.double() + 1
    hit = torch.arange(1, len(row) + 1, device=row.device) - start[row]  # 1, 2, ... within each query
    precision = torch.zeros(len(relevant), dtype=torch.float64, device=row.device)
    precision.index_add_(0, row, hit / rank).div_(count)
    first = torch.full_like(precision, torch.inf)
    first[count > 0] = rank[start[count > 0]]
    return first, precision


def _report(first: Tensor, precision: Tensor | None, answerable: Tensor, ks: Sequence[int]) -> RetrievalReport:
    """Gathers per-query scores: rank of the first relevant item, average precision, whether there is any."""
    hits = {k: float((first <= k).sum()) for k in ks}
    queries, answered = len(first), int(answerable.sum())
    return RetrievalReport(
        recall={k: hits[k] / answered if answered else float("nan") for k in ks},
        recall_zero_counted={k: hits[k] / queries for k in ks},
        mean_average_precision=float("nan") if precision is None else float(precision.nanmean()),
        average_precision=precision,
        num_queries=queries,
        num_skipped=queries - answered,
    )


def _count_relevant(query_labels: Tensor, gallery_labels: Tensor, exclude: Tensor) -> Tensor:
    """(Q,) number of gallery items with the label of each query, the left out one not counted."""
    ordered = gallery_labels.sort().values
    count = torch.searchsorted(ordered, query_labels, right=True) - torch.searchsorted(ordered, query_labels)
    return count - ((exclude >= 0) & (gallery_labels[exclude] == query_labels)).long()


def _chunks(query: Tensor, gallery: Tensor, chunk_bytes: int) -> Iterator[slice]:
    size = max(1, chunk_bytes // (_BYTES_PER_PAIR * len(gallery)))
    return (slice(start, start + size) for start in range(0, len(query), size))


def _pad(values: Tensor, multiple: int) -> Tensor:
    """Rows of zeros up to the next multiple."""
    return F.pad(values, (0, 0, 0, -len(values) % multiple))


def _prepare(query: Tensor, gallery: Tensor, exclude: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vectors and the rows to leave out, checked against each other."""
    query, gallery = _unit(query, "query"), _unit(gallery, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(f"gallery has shape {tuple(gallery.shape)}, query {tuple(query.shape)}: dimensions differ")
    if exclude is None:
        return query, gallery, torch.full((len(query),), -1, device=query.device)
    exclude = _labels(exclude, query, "exclude", "query")
    if int(exclude.min()) < -1 or int(exclude.max()) >= len(gallery):
        raise ValueError(
            f"exclude runs from {int(exclude.min())} to {int(exclude.max())}, must be -1 or a row of gallery, "
            f"which has shape {tuple(gallery.shape)}"
        )
    return query, gallery, exclude


def _unit(embeddings: Tensor, name: str) -> Tensor:
    """(n, d) float32 of unit length. ValueError naming the first row that is zero or not finite."""
    if embeddings.ndim != 2 or len(embeddings) == 0 or not embeddings.is_floating_point():
        shape = tuple(embeddings.shape)
        raise ValueError(f"{name} has shape {shape} and type {embeddings.dtype}, must be (rows, d) floats")
    # Divided by the largest entry first, the square of a very large or small embedding stays in range.
    largest = embeddings.abs().amax(1, keepdim=True)
    for bad, what in ((~largest.isfinite(), "is not finite"), (largest == 0, "has zero length")):
        if bad.any():
            raise ValueError(f"row {int(bad.flatten().nonzero()[0])} of {name} {what}: it has no cosine")
    return F.normalize((embeddings / largest).float(), dim=1)


def _labels(labels: Tensor | None, embeddings: Tensor, name: str, of: str) -> Tensor:
    """(rows,) int64 on the device of the embeddings. ValueError for another shape or type."""
    if labels is None:
        raise ValueError(f"{name} is missing: {of} has shape {tuple(embeddings.shape)}")
    labels = torch.as_tensor(labels, device=embeddings.device)
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(f"{name} has shape {tuple(labels.shape)}, {of} {tuple(embeddings.shape)}: one entry per row")
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{name} has type {labels.dtype}, must hold integers; its shape is {tuple(labels.shape)}")
    return labels.long()
