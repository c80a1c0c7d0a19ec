"""Accuracy, retrieval of test images among themselves, and pictures of both."""

import numpy as np
import torch

from fglib.measure.trained import Arrays, Metrics, Trained, best_one_and_five, evenly, thumbnails
from fglib.retrieval import evaluate_retrieval, nearest, summary


def accuracy(trained: Trained) -> tuple[Metrics, Arrays]:
    """Coarse top-1 and top-5 on the test set, for methods with a classifier."""
    if not hasattr(trained.method, "logits"):
        return {}, {}
    return dict(zip(("coarse_top1", "coarse_top5"), best_one_and_five(trained))), {}


def retrieval(trained: Trained) -> tuple[Metrics, Arrays]:
    """Recall@k and mAP at the coarse and the fine level, every test image ranked against the others."""
    return _retrieval(trained, "coarse") | _retrieval(trained, "fine"), {}


def coarse_retrieval(trained: Trained) -> tuple[Metrics, Arrays]:
    """Recall@k and mAP at the coarse level alone, which may choose the settings of methods that see no other labels."""
    return _retrieval(trained, "coarse"), {}


def wide_retrieval(trained: Trained) -> tuple[Metrics, Arrays]:
    """Fine Recall@1, 10, 100, 1000, for sets of many small classes."""
    return _retrieval(trained, "fine", ks=(1, 10, 100, 1000), average_precision=False), {}


def gallery(trained: Trained, queries: int = 8, shown: int = 6) -> tuple[Metrics, Arrays]:
    """Pictures: some queries, evenly spread over the fine classes, and what is retrieved for each."""
    fine = trained.test_labels("fine")
    order = torch.argsort(fine, stable=True)
    rows = order[evenly(len(order), queries)]
    hits = nearest(trained.test_features[rows], trained.test_features, shown, exclude=rows)
    pictures = thumbnails(trained.data.test.pixels(torch.cat([rows, hits.flatten()])))
    return {}, {
        "gallery_queries": pictures[: len(rows)],
        "gallery_neighbours": pictures[len(rows) :].reshape(*hits.shape, *pictures.shape[1:]),
        "gallery_correct": (fine[hits] == fine[rows, None]).numpy(),
        "gallery_names": trained.class_names("fine")[fine[rows].numpy()],
    }


def embedding(trained: Trained, most: int = 800) -> tuple[Metrics, Arrays]:
    """t-SNE of test features, to look at: init pca and a fixed seed, drawn and never evidence."""
    from sklearn.manifold import TSNE

    rows = evenly(len(trained.data.test), most)
    x = torch.nn.functional.normalize(trained.test_features[rows], dim=1).numpy()
    perplexity = min(30.0, (len(rows) - 1) / 3)
    xy = TSNE(init="pca", random_state=0, perplexity=perplexity).fit_transform(x)
    return {}, {
        "embedding_xy": xy.astype(np.float16),
        "embedding_coarse": trained.test_labels("coarse")[rows].numpy().astype(np.int16),
        "embedding_fine": trained.test_labels("fine")[rows].numpy().astype(np.int16),
    }


def _retrieval(trained: Trained, kind: str, **options) -> Metrics:
    """Every test image ranked against the others, at the level that is `coarse` or `fine`."""
    return summary(evaluate_retrieval(trained.test_features, trained.test_labels(kind), **options), kind)
