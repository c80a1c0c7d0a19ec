"""No tensor of all query-item pairs is made, but for the rankings that are asked for."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fglib.retrieval import (
    conditional_ranking,
    cosine_ranking,
    evaluate_ranking,
    evaluate_retrieval,
    knn_logits,
    nearest,
    oracle_ranking,
)

QUERIES, ITEMS, LIMIT = 400, 1000, 2**18  # all pairs take 1.6 MB in float32; a quarter of a megabyte is allowed
RESULT = QUERIES * ITEMS * 8


class LargestTensor(TorchDispatchMode):
    """Notes the bytes of the largest tensor that any operation makes, results of size `allowed` left out."""

    def __init__(self, allowed=None):
        super().__init__()
        self.bytes, self.allowed = 0, allowed

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = [t.nbytes for t in (out if isinstance(out, tuple | list) else [out]) if isinstance(t, torch.Tensor)]
        self.bytes = max([self.bytes, *(size for size in made if size != self.allowed)])
        return out


@pytest.fixture
def problem():
    draw = torch.Generator().manual_seed(0)
    query, gallery = torch.randn(QUERIES, 3, generator=draw), torch.randn(ITEMS, 3, generator=draw)
    return query, gallery, torch.zeros(ITEMS, dtype=torch.long)  # one label, all relevant: the most there is to score


@pytest.mark.parametrize("average_precision", [True, False])
def test_evaluation(problem, average_precision):
    query, gallery, labels = problem
    with LargestTensor() as largest:
        evaluate_retrieval(
            query, labels[:QUERIES], gallery, labels, average_precision=average_precision, chunk_bytes=LIMIT
        )
    assert 0 < largest.bytes <= LIMIT


def test_evaluation_of_a_ranking(problem):
    query, gallery, labels = problem
    ranking = cosine_ranking(query, gallery)
    with LargestTensor() as largest:
        evaluate_ranking(ranking, labels[:QUERIES], labels, chunk_bytes=LIMIT)
    assert 0 < largest.bytes <= LIMIT


@pytest.mark.parametrize("kind", ["cosine", "conditional", "oracle"])
def test_rankings_hold_the_result_alone(problem, kind):
    query, gallery, labels = problem
    with LargestTensor(allowed=RESULT) as largest:
        if kind == "cosine":
            cosine_ranking(query, gallery, chunk_bytes=LIMIT)
        elif kind == "conditional":
            conditional_ranking(query, gallery, labels, torch.zeros(QUERIES, 2), chunk_bytes=LIMIT)
        else:
            oracle_ranking(query, gallery, labels, labels[:QUERIES], chunk_bytes=LIMIT)
    assert 0 < largest.bytes <= LIMIT


@pytest.mark.parametrize("k", [None, 7])
def test_neighbours(problem, k):
    query, gallery, labels = problem
    with LargestTensor() as largest:
        knn_logits(query, gallery, labels, num_classes=5, k=k, chunk_bytes=LIMIT)
        nearest(query, gallery, k or 1, chunk_bytes=LIMIT)
    assert 0 < largest.bytes <= LIMIT
