"""Accuracy, retrieval of test images among themselves, and pictures of both."""

import numpy as np
import torch

from fglib.inference import apply
from fglib.measure.trained import Arrays, Metrics, Trained, evenly, percent, thumbnails
from fglib.retrieval import evaluate_retrieval, nearest, summary


def accuracy(trained: Trained) -> tuple[Metrics, Arrays]:
    """Coarse top-1 and top-5 on the test set, for methods with a classifier."""
    if not hasattr(trained.method, "logits"):
        return {}, {}
    scores = apply(trained.method, trained.method.logits, trained.data.test, trained.device)
    best = scores.topk(min(5, scores.shape[1])).indices
    hit = best == trained.test_labels("coarse")[:, None]
    return {"coarse_top1": percent(hit[:, 0]), "coarse_top5": percent(hit.any(1))}, {}


def retrieval(trained: Trained) -> tuple[Metrics, Arrays]:
    """Recall@k and mAP at the coarse and the fine level, every test image ranked against the others."""
    x, metrics = trained.test_features, {}
    for kind in ("coarse", "fine"):
        report = evaluate_retrieval(x, trained.test_labels(kind))
        metrics |= summary(report, kind)
    return metrics, {}


def coarse_retrieval(trained: Trained) -> tuple[Metrics, Arrays]:
    """Recall@k and mAP at the coarse level alone, which may choose the settings of methods that see no other labels."""
    return summary(evaluate_retrieval(trained.test_features, trained.test_labels("coarse")), "coarse"), {}


def wide_retrieval(trained: Trained) -> tuple[Metrics, Arrays]:
    """Fine Recall@1, 10, 100, 1000, for sets of many small classes."""
    ks = (1, 10, 100, 1000)
    report = evaluate_retrieval(trained.test_features, trained.test_labels("fine"), ks=ks, average_precision=False)
    return summary(report, "fine"), {}


def gallery(trained: Trained, queries: int = 8, shown: int = 6) -> tuple[Metrics, Arrays]:
    """Pictures: some queries, evenly spread over the fine classes, and what is retrieved for each."""
    fine = trained.test_labels("fine")
    order = torch.argsort(fine, stable=True)
    rows = order[evenly(len(order), queries)]
    hits = nearest(trained.test_features[rows], trained.test_features, shown, exclude=rows)
    names = np.array(trained.data.hierarchy.classes[trained.config.data.fine])
    test = trained.data.test
    pictures = thumbnails(test.pixels(torch.cat([rows, hits.flatten()])))
    return {}, {
        "gallery_queries": pictures[: len(rows)],
        "gallery_neighbours": pictures[len(rows) :].reshape(*hits.shape, *pictures.shape[1:]),
        "gallery_correct": (fine[hits] == fine[rows, None]).numpy(),
        "gallery_names": names[fine[rows].numpy()],
    }


def embedding(trained: Trained, most: int = 800) -> tuple[Metrics, Arrays]:
    """t-SNE of test features, to look at: init pca and a fixed seed, drawn and never evidence."""
    from sklearn.manifold import TSNE

    n = len(trained.data.test)
    rows = evenly(n, most)
    x = torch.nn.functional.normalize(trained.test_features[rows], dim=1).numpy()
    perplexity = min(30.0, (len(rows) - 1) / 3)
    xy = TSNE(init="pca", random_state=0, perplexity=perplexity).fit_transform(x)
    return {}, {
        "embedding_xy": xy.astype(np.float16),
        "embedding_coarse": trained.test_labels("coarse")[rows].numpy().astype(np.int16),
        "embedding_fine": trained.test_labels("fine")[rows].numpy().astype(np.int16),
    }
