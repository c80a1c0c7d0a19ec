"""Rankings of a gallery: by cosine alone, or with what is known of the coarse class.

"Grafit" (Touvron et al.), Section 3.2. The gallery is the training collection, whose coarse labels are known:

    Eq. 5     score(query, item of coarse class y) = cos(query, item) + log(p_y / (1 - p_y))
    oracle    the coarse class of the query is known: p_y is 1 for it and 0 for the others

With p the softmax of coarse logits s, the log-odds are s_y minus the logsumexp of the other logits: finite where p is
rounded to 0 or 1. Every ranking is exact, and items of equal score go by ascending gallery row.

Sizes: Q queries, n gallery items, d dimensions, C coarse classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fglib.checks import misfit
from fglib.retrieval.inputs import class_labels, count, integers, tensor, unit_pair
from fglib.retrieval.similarity import CHUNK_BYTES, rank, rank_first, similarities

_LARGEST_LOG_ODDS = 1e6  # float64 has steps of 1e-10 here: the order of float32 cosines, in steps of 6e-8, survives
_OWN_CLASS = 4.0  # cosines lie within 2 of each other: the class of the query comes first whatever they are


@torch.no_grad()
def nearest(
    query: Tensor, gallery: Tensor, k: int, exclude: Tensor | None = None, chunk_bytes: int = CHUNK_BYTES
) -> Tensor:
    """(Q, min(k, n)) gallery rows of the k nearest items of each query by cosine, nearest first.

    Arguments and errors as in `evaluate_retrieval`. A left out item is never among them: where fewer than k items
    remain, the place is -1.
    """
    k = count("k", k)
    query, gallery, exclude = unit_pair(query, gallery, exclude)
    chunks = similarities(query, gallery, exclude, chunk_bytes)
    found = torch.cat([rank_first(similarity, min(k, len(gallery))) for _, similarity in chunks])
    return found.masked_fill(found == exclude[:, None], -1)


@torch.no_grad()
def cosine_ranking(query: Tensor, gallery: Tensor, chunk_bytes: int = CHUNK_BYTES) -> Tensor:
    """(Q, n) gallery rows by cosine, best first: the ranking that `evaluate_retrieval` scores.

    query: (Q, d) and gallery: (n, d) embeddings of any length but zero. `chunk_bytes` bounds the memory beyond the
    arguments, their copies of unit length and the result. Errors as in `evaluate_retrieval`.
    """
    query, gallery, nothing = unit_pair(query, gallery)
    return _ranked(query, gallery, nothing, chunk_bytes)


@torch.no_grad()
def conditional_ranking(
    query: Tensor, gallery: Tensor, gallery_coarse: Tensor, coarse_logits: Tensor, chunk_bytes: int = CHUNK_BYTES
) -> Tensor:
    """(Q, n) gallery rows by cosine plus the log-odds of the item's coarse class, best first; "Grafit", Eq. 5.

    gallery_coarse: (n,) integers from 0 to C - 1. coarse_logits: (Q, C) floats of any classifier with a softmax, or
    of `knn_logits`; a logit of minus infinity rules its class out. The rest as in `cosine_ranking`.

    Log-odds are kept within 1e6 of zero. So a class that is certain, or ruled out, has its items in order of cosine,
    where an infinite score would tie them all. ValueError for shapes that do not fit, for classes beyond the logits
    and for a row of logits that has no softmax: with NaN or plus infinity, or minus infinity alone.
    """
    query, gallery, nothing = unit_pair(query, gallery)
    coarse_logits = tensor(coarse_logits, "coarse_logits")
    if coarse_logits.ndim != 2 or len(coarse_logits) != len(query) or not coarse_logits.is_floating_point():
        raise misfit("coarse_logits", coarse_logits, "(Q, C) floats", query=query)
    gallery_coarse = class_labels(gallery_coarse, gallery, "gallery_coarse", "gallery", coarse_logits.shape[1])
    odds = log_odds(coarse_logits.to(query.device, torch.float64))
    undefined = odds.isnan().any(1)
    if undefined.any():
        row = int(undefined.nonzero()[0])
        raise ValueError(f"row {row} of coarse_logits has no softmax: it holds NaN or +inf, or nothing but -inf")
    odds = odds.clamp_(-_LARGEST_LOG_ODDS, _LARGEST_LOG_ODDS)
    return _ranked(query, gallery, nothing, chunk_bytes, lambda rows: odds[rows][:, gallery_coarse])


@torch.no_grad()
def oracle_ranking(
    query: Tensor, gallery: Tensor, gallery_coarse: Tensor, query_coarse: Tensor, chunk_bytes: int = CHUNK_BYTES
) -> Tensor:
    """(Q, n) gallery rows, those of the query's coarse class first, by cosine within and without.

    gallery_coarse: (n,) and query_coarse: (Q,) integers; the rest as in `cosine_ranking`. It bounds what a coarse
    classifier can do for `conditional_ranking`, and it reads the coarse labels of the queries: a ceiling, no method.
    """
    query, gallery, nothing = unit_pair(query, gallery)
    gallery_coarse = integers(gallery_coarse, gallery, "gallery_coarse", "gallery")
    query_coarse = integers(query_coarse, query, "query_coarse", "query")

    def own_class(rows: slice) -> Tensor:
        return _OWN_CLASS * (gallery_coarse == query_coarse[rows, None])  # (q, n)

    return _ranked(query, gallery, nothing, chunk_bytes, own_class)


def log_odds(logits: Tensor) -> Tensor:
    """(Q, C) log(p / (1 - p)) of the softmax p of logits (Q, C): each logit minus the logsumexp of the others.

    Up to p = 1/2 a class can be taken out of the sum over all without loss of digits. Beyond, and only one class of a
    row is ever there, its others are summed by themselves. Equal logits have equal log-odds, bit for bit.
    """
    peak, best = logits.max(1, keepdim=True)
    weight = (logits - peak).exp()
    total = weight.sum(1, keepdim=True)
    others = (total - weight).log() + peak  # (Q, C)
    others_of_best = logits.scatter(1, best, -torch.inf).logsumexp(1, keepdim=True)  # (Q, 1)
    return logits - torch.where(2 * weight > total, others_of_best, others)


def _ranked(
    query: Tensor, gallery: Tensor, exclude: Tensor, chunk_bytes: int, bonus: Callable[[slice], Tensor] | None = None
) -> Tensor:
    """(Q, n) gallery rows by cosine, or by cosine + bonus, which is (q, n) for a chunk of queries.

    The sum is in float64: in float32 a large bonus would leave the cosines no digits.
    """
    n = len(gallery)
    ranking = torch.empty(len(query), n, dtype=torch.int64, device=query.device)
    for rows, similarity in similarities(query, gallery, exclude, chunk_bytes):
        if bonus is None:
            ranking[rows] = rank(similarity)[:, :n]
        else:
            score = similarity[:, :n] + bonus(rows).double()
            ranking[rows] = score.argsort(dim=1, descending=True, stable=True)
    return ranking
