"""What became of every query: how far a figure depends on the test images that happened to be drawn."""

import numpy as np
import torch
from torch import Tensor

from fglib.measure.trained import Arrays, Metrics, Trained
from fglib.retrieval import evaluate_retrieval, nearest

UNANSWERABLE = -1  # no other image of the class, or no other class inside the coarse one


def queries(trained: Trained) -> tuple[Metrics, Arrays]:
    """Of every test image, ranked against the others: its fine class and whether the first answer is right.

    query_class (n,). query_fine, query_coarse (n,) int8: 1 where the nearest image shares the class of that level, 0
    where it does not; query_within: the same at the fine level with the images of the query's own coarse class alone;
    UNANSWERABLE where there is nothing to find. query_precision (n,) float16: fine average precision, NaN likewise.
    """
    features, coarse, fine = trained.test_features, trained.test_labels("coarse"), trained.test_labels("fine")
    inside = torch.full_like(fine, UNANSWERABLE, dtype=torch.int8)
    for label in coarse.unique():
        rows = (coarse == label).nonzero().flatten()
        if len(fine[rows].unique()) > 1:
            inside[rows] = _first_is_right(features[rows], fine[rows])
    return {}, {
        "query_class": fine.numpy().astype(np.int16),
        "query_fine": _first_is_right(features, fine).numpy(),
        "query_coarse": _first_is_right(features, coarse).numpy(),
        "query_within": inside.numpy(),
        "query_precision": evaluate_retrieval(features, fine, ks=(1,)).average_precision.numpy().astype(np.float16),
    }


def _first_is_right(features: Tensor, labels: Tensor) -> Tensor:
    """Whether the image nearest to each of n shares its label, (n,) int8; UNANSWERABLE where no other one has it."""
    rows = torch.arange(len(labels))
    right = labels[nearest(features, features, 1, exclude=rows).flatten()] == labels
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    return torch.where(sizes[classes] > 1, right.to(torch.int8), UNANSWERABLE)
