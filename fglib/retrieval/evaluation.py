"""Image retrieval: every query ranks the gallery by cosine, and an item is relevant when it has the query's label.

Recall@k is the fraction of queries with a relevant item among the k first. The average precision of a query with R
relevant items at ranks r_1 < ... < r_R is (1/R) sum_i i / r_i, over the whole ranking; mAP is its mean.

Ranking is exact: similarities are compared in float32, or float64 where embeddings are, and equal ones go by ascending
gallery row. A query without any relevant item cannot be answered: it is skipped and counted, and `recall_zero_counted`
is what recall would be with such queries counted as misses.

Sizes: Q queries, n gallery items, d dimensions. Queries are taken in chunks, so that no Q x n table is ever held.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fglib.checks import misfit
from fglib.retrieval.counting import members_of, score_by_counting
from fglib.retrieval.inputs import counts, integers, tensor, unit, unit_pair
from fglib.retrieval.similarity import CHUNK_BYTES, COUNTED, WHOLE, chunks, first_bytes, rank, rank_first, similarities


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
    ks = counts("ks", ks)
    if gallery is None:
        if gallery_labels is not None or exclude is not None:
            raise ValueError("gallery_labels and exclude need a gallery: without one each query leaves itself out")
        query = gallery = unit(query, "query")
        query_labels = gallery_labels = integers(query_labels, query, "query_labels", "query")
        exclude = torch.arange(len(query), device=query.device)
    else:
        query, gallery, exclude = unit_pair(query, gallery, exclude)
        query_labels = integers(query_labels, query, "query_labels", "query")
        gallery_labels = integers(gallery_labels, gallery, "gallery_labels", "gallery")

    n = len(gallery)
    counting = average_precision and query.device.type == "cpu"
    members = members_of(gallery_labels) if counting else {}
    pair_bytes = COUNTED if counting else WHOLE if average_precision else first_bytes(max(ks), n)
    scores = []
    for rows, similarity in similarities(query, gallery, exclude, chunk_bytes, pair_bytes):
        if counting:
            scores.append(score_by_counting(similarity, query_labels[rows], exclude[rows], members))
        else:
            ranking = rank(similarity)[:, :n] if average_precision else rank_first(similarity, min(max(ks), n))
            relevant = gallery_labels[ranking] == query_labels[rows, None]
            scores.append(_score(relevant & (ranking != exclude[rows, None])))
    first, precision = map(torch.cat, zip(*scores))
    answerable = _count_relevant(query_labels, gallery_labels, exclude) > 0
    return _report(first, precision if average_precision else None, answerable, ks)


@torch.no_grad()
def evaluate_ranking(
    ranking: Tensor,
    query_labels: Tensor,
    gallery_labels: Tensor,
    ks: Sequence[int] = (1, 2, 4, 8),
    chunk_bytes: int = CHUNK_BYTES,
) -> RetrievalReport:
    """Recall@k and mean average precision of rankings that are already made; of `cosine_ranking` the same report.

    ranking: (Q, n) integers, for each query all gallery rows, best first; query_labels: (Q,) and gallery_labels: (n,)
    integers. ValueError for shapes that do not fit and for a row that leaves gallery rows out or repeats them, which is
    always checked: it costs less than the scores.
    """
    ks, ranking = counts("ks", ks), tensor(ranking, "ranking")
    gallery_labels = tensor(gallery_labels, "gallery_labels")
    if ranking.ndim != 2 or ranking.numel() == 0 or ranking.is_floating_point() or ranking.dtype == torch.bool:
        raise misfit("ranking", ranking, "(Q, n) gallery rows")
    query_labels = integers(query_labels, ranking, "query_labels", "ranking")
    if len(gallery_labels) != ranking.shape[1]:
        raise ValueError(
            f"gallery_labels has shape {tuple(gallery_labels.shape)}, ranking {tuple(ranking.shape)}: "
            "a ranking holds every row of the gallery"
        )
    gallery_labels = integers(gallery_labels, ranking[0], "gallery_labels", "a row of ranking")
    scores = []
    for rows in chunks(ranking, gallery_labels, chunk_bytes):
        ranked = ranking[rows].long()
        _check_permutations(ranked, rows.start)
        scores.append(_score(gallery_labels[ranked] == query_labels[rows, None]))
    first, precision = map(torch.cat, zip(*scores))
    return _report(first, precision, first.isfinite(), ks)


def summary(report: RetrievalReport, prefix: str) -> dict[str, float]:
    """Flat metrics in percent: {prefix}_r1, ..., {prefix}_map where measured, and {prefix}_skipped.

    The zero-counted recall is {prefix}_r1 * (1 - {prefix}_skipped / 100).
    """
    metrics = {f"{prefix}_r{k}": 100 * value for k, value in report.recall.items()}
    if report.average_precision is not None:
        metrics[f"{prefix}_map"] = 100 * report.mean_average_precision
    metrics[f"{prefix}_skipped"] = 100 * report.num_skipped / report.num_queries
    return metrics


def _check_permutations(ranked: Tensor, start: int) -> None:
    """ValueError naming the first row, counted from `start`, that does not hold every column once."""
    n = ranked.shape[1]
    bad = ((ranked < 0) | (ranked >= n)).any(1)
    if not bad.any():  # else the row numbers would reach beyond the table
        bad = ~torch.zeros_like(ranked, dtype=torch.bool).scatter_(1, ranked, True).all(1)
    if bad.any():
        row = start + int(bad.nonzero()[0])
        raise ValueError(f"row {row} of ranking does not hold each of the {n} gallery rows once: rank them all")


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
