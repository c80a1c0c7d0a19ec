"""Losses name an argument that is no tensor, a list of labels or an array of numpy."""

import numpy as np
import pytest
import torch

from fglib import losses
from fglib.checks import is_whole
from fglib.models import bilinear_attention_pool, diversify, update_centers_

X, Y = torch.rand(4, 3), torch.tensor([0, 1, 2, 0])
PARTS, CENTERS, MAPS = torch.rand(4, 2, 3), torch.rand(3, 2, 3), torch.rand(4, 2, 3, 3)
CALLS = {
    "center_loss": (losses.center_loss, (PARTS, Y, CENTERS)),
    "gaussian_mixture_loss": (losses.gaussian_mixture_loss, (X, Y)),
    "gradient_boosting_cross_entropy": (losses.gradient_boosting_cross_entropy, (X, Y)),
    "instance_cross_entropy": (losses.instance_cross_entropy, (X, X, torch.arange(4))),
    "instance_cross_entropy_within": (losses.instance_cross_entropy_within, (X, X, torch.arange(4), Y)),
    "instance_loss": (losses.instance_loss, (PARTS, PARTS)),
    "knn_loss": (losses.knn_loss, (X, X, torch.arange(4), Y)),
    "map_overlap": (losses.map_overlap, (MAPS,)),
    "maximum_entropy_loss": (losses.maximum_entropy_loss, (X, Y)),
    "overlap_penalty": (lambda maps: losses.overlap_penalty(maps, "l1"), (MAPS,)),
    "pairwise_confusion_loss": (losses.pairwise_confusion_loss, (X, Y)),
    "bilinear_attention_pool": (bilinear_attention_pool, (MAPS, MAPS)),
    "diversify": (lambda *m: diversify(*m, 2), (MAPS, torch.ones(4, 2).bool(), torch.ones(4, 2, 2, 2).bool())),
    "update_centers_": (update_centers_, (CENTERS, PARTS, Y)),
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments_that_are_no_tensors_are_named(name):
    function, arguments = CALLS[name]
    function(*arguments)
    for i, value in enumerate(arguments):
        for other in (value.tolist(), value.numpy(), ["a"] * len(value), None):
            kind = type(other).__name__
            with pytest.raises(ValueError, match=rf"\w+ is of type {kind}, must be a tensor"):
                function(*arguments[:i], other, *arguments[i + 1 :])


def test_every_loss_is_covered():
    assert set(losses.__all__) <= CALLS.keys()


def test_numbers_of_numpy_are_whole_and_truth_values_are_not():
    assert all(map(is_whole, (1, np.int64(3), np.uint8(2)))) and is_whole(0, 0)
    assert not any(map(is_whole, (True, np.True_, 1.0, np.float64(1), "1", None, 0, np.int64(-1))))
    assert torch.equal(*(losses.gradient_boosting_cross_entropy(X, Y, k) for k in (1, np.int64(1))))
