"""What searches take: numbers of numpy and plain lists as well as tensors; anything else is named."""

import numpy as np
import pytest
import torch

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

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3
NAMES = [str(y) for y in Y.tolist()]


def same(found, expected):
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    else:
        assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    ("function", "tensors", "numbers"),
    [
        (evaluate_retrieval, (X, Y), {"ks": (1, 2)}),
        (evaluate_ranking, (cosine_ranking(X, X), Y, Y), {"ks": (1, 2)}),
        (cosine_ranking, (X, X), {}),
        (conditional_ranking, (X, X, Y, X[:, :3]), {}),
        (oracle_ranking, (X, X, Y, Y), {}),
        (nearest, (X, X), {"k": 3}),
        (knn_probabilities, (X, X, Y), {"k": 3, "num_classes": 3}),
        (knn_logits, (X, X, Y), {"k": 3, "num_classes": 3}),
        (choose_k, (X, Y), {"ks": (1, 2), "num_classes": 3}),
    ],
)
def test_arrays_lists_and_numbers_of_numpy_are_as_good_as_tensors(function, tensors, numbers):
    expected = function(*tensors, **numbers)
    other = {name: np.array(value) if name == "ks" else np.int64(value) for name, value in numbers.items()}
    same(function(*(t.numpy() for t in tensors), **other), expected)
    same(function(*(t if t.is_floating_point() else t.tolist() for t in tensors), **numbers), expected)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: evaluate_retrieval(X, NAMES), "query_labels is of type list and holds no numbers"),
        (lambda: evaluate_retrieval(X, np.array(NAMES)), "query_labels is of type ndarray and holds no numbers"),
        (lambda: evaluate_retrieval(NAMES, Y), "query is of type list"),
        (lambda: evaluate_retrieval(X, Y, X, NAMES), "gallery_labels is of type list"),
        (lambda: evaluate_ranking("abc", Y, Y), "ranking is of type str"),
        (lambda: evaluate_ranking(cosine_ranking(X, X), Y, None), "gallery_labels is of type NoneType"),
        (lambda: conditional_ranking(X, X, Y, NAMES), "coarse_logits is of type list"),
        (lambda: oracle_ranking(X, X, NAMES, Y), "gallery_coarse is of type list"),
        (lambda: nearest(X, object(), 1), "gallery is of type object"),
        (lambda: knn_logits(X, X, NAMES, 3), "labels is of type list"),
        (lambda: evaluate_retrieval(X, Y, ks=3), "ks is 3"),
        (lambda: evaluate_retrieval(X, Y, ks=np.array([1.0])), "ks is array"),
        (lambda: evaluate_retrieval(X, Y, ks=np.array([0, 1])), "ks is array"),
        (lambda: nearest(X, X, np.int64(0)), r"k is np.int64\(0\)"),
        (lambda: nearest(X, X, np.True_), "k is np.True_"),
    ],
)
def test_what_is_not_taken_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
