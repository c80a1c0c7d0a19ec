"""Galleries: which neighbours a query is shown with."""

import dataclasses

import numpy as np
import torch
from tiny import dataset, ready

from fglib.measure import Trained, measure


def found(features=None):
    """(trained, images by their pixels, arrays of the gallery)."""
    method, _, config = ready("base")
    data = dataset()
    trained = Trained(method, data, dataclasses.replace(config, measure=("gallery",)))
    if features is None:  # not those of a network, some of which lie so close that rounding would order them
        features = torch.randn(25, 4, generator=torch.Generator().manual_seed(0))
    trained.test_features = features
    row_of = {image.permute(1, 2, 0).numpy().tobytes(): i for i, image in enumerate(data.test.images)}
    assert len(row_of) == len(data.test)
    return trained, row_of, measure(trained)[1]


def rows(pictures, row_of):
    return [row_of[np.ascontiguousarray(picture).tobytes()] for picture in pictures]


def test_neighbours_are_the_nearest_other_images_in_their_order():
    trained, row_of, arrays = found()
    x = torch.nn.functional.normalize(trained.test_features.double(), dim=1)
    queries = rows(arrays["gallery_queries"], row_of)
    assert len(set(queries)) == 8
    for query, shown in zip(queries, arrays["gallery_neighbours"]):
        cosine = (x @ x[query]).tolist()
        others = sorted((i for i in range(len(x)) if i != query), key=lambda i: (-cosine[i], i))
        assert rows(shown, row_of) == others[:6]


def test_a_query_is_never_its_own_answer():
    """Though no image is nearer to it: all features but its own point away."""
    trained, row_of, arrays = found(torch.eye(25) - 0.04)
    for query, shown in zip(rows(arrays["gallery_queries"], row_of), arrays["gallery_neighbours"]):
        assert query not in rows(shown, row_of)


def test_queries_are_spread_over_the_fine_classes_and_a_hit_is_of_the_fine_class():
    trained, row_of, arrays = found()
    fine = trained.data.test.labels("small")
    order = sorted(range(25), key=lambda i: (int(fine[i]), i))
    queries = rows(arrays["gallery_queries"], row_of)
    assert queries == [order[24 * i // 7] for i in range(8)]
    names = trained.data.hierarchy.classes["small"]
    assert arrays["gallery_names"].tolist() == [names[fine[i]] for i in queries]
    correct = [[fine[i] == fine[q] for i in rows(s, row_of)] for q, s in zip(queries, arrays["gallery_neighbours"])]
    assert arrays["gallery_correct"].tolist() == correct
    assert 0 < np.mean(correct) < 1
