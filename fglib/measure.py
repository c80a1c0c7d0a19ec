"""What is measured on a trained method: each measure gives metrics (percent unless said) and arrays for figures.

An experiment lists the names of its measures. This is the one place that reads the fine labels of the test set,
and of the training set where a theorem is measured; it runs after training and feeds nothing back.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fglib import explain, theory
from fglib.config import RunConfig
from fglib.data.augment import to_unit_interval
from fglib.data.images import DataSet
from fglib.errors import unknown
from fglib.inference import apply, embed
from fglib.methods import Method
from fglib.retrieval import evaluate_retrieval, nearest, summary

Metrics, Arrays = dict[str, float], dict[str, np.ndarray]


@dataclass
class Trained:
    """A trained method with its data; features are computed once and shared by the measures."""

    method: Method
    data: DataSet
    config: RunConfig
    device: str = "cpu"

    @cached_property
    def test_features(self) -> Tensor:
        """Retrieval features (n, d) of the test set."""
        return embed(self.method, self.data.test, self.device)

    def test_labels(self, kind: str) -> Tensor:
        """Labels (n,) of the test set at the level that is `coarse` or `fine` in this configuration."""
        return self.data.test.labels(getattr(self.config.data, kind))


def measure(trained: Trained) -> tuple[Metrics, Arrays]:
    """All measures of the configuration, in its order."""
    metrics: Metrics = {}
    arrays: Arrays = {}
    for name in trained.config.measure:
        if name not in MEASURES:
            raise unknown("measure", name, MEASURES)
        new_metrics, new_arrays = MEASURES[name](trained)
        metrics |= new_metrics
        arrays |= new_arrays
    return metrics, arrays


def accuracy(trained: Trained) -> tuple[Metrics, Arrays]:
    """Coarse top-1 and top-5 on the test set, for methods with a classifier."""
    if not hasattr(trained.method, "logits"):
        return {}, {}
    scores = apply(trained.method, trained.method.logits, trained.data.test, trained.device)
    best = scores.topk(min(5, scores.shape[1])).indices
    hit = best == trained.test_labels("coarse")[:, None]
    return {"coarse_top1": _percent(hit[:, :1]), "coarse_top5": _percent(hit)}, {}


def retrieval(trained: Trained) -> tuple[Metrics, Arrays]:
    """Recall@k and mAP at the coarse and the fine level, every test image ranked against the others."""
    x, metrics = trained.test_features, {}
    for kind in ("coarse", "fine"):
        report = evaluate_retrieval(x, trained.test_labels(kind))
        metrics |= summary(report, kind)
    return metrics, {}


def wide_retrieval(trained: Trained) -> tuple[Metrics, Arrays]:
    """Fine Recall@1, 10, 100, 1000, for sets of many small classes."""
    ks = (1, 10, 100, 1000)
    report = evaluate_retrieval(trained.test_features, trained.test_labels("fine"), ks=ks, average_precision=False)
    return summary(report, "fine"), {}


def gallery(trained: Trained, queries: int = 8, shown: int = 6) -> tuple[Metrics, Arrays]:
    """Pictures: some queries, evenly spread over the fine classes, and what is retrieved for each."""
    fine = trained.test_labels("fine")
    order = torch.argsort(fine, stable=True)
    rows = order[torch.linspace(0, len(order) - 1, queries).long()]
    hits = nearest(trained.test_features[rows], trained.test_features, shown, exclude=rows)
    names = np.array(trained.data.hierarchy.classes[trained.config.data.fine])
    test = trained.data.test
    pictures = _thumbnails(test.pixels(torch.cat([rows, hits.flatten()])))
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
    rows = torch.linspace(0, n - 1, min(most, n)).long()
    x = torch.nn.functional.normalize(trained.test_features[rows], dim=1).numpy()
    perplexity = min(30.0, (len(rows) - 1) / 3)
    xy = TSNE(init="pca", random_state=0, perplexity=perplexity).fit_transform(x)
    return {}, {
        "embedding_xy": xy.astype(np.float16),
        "embedding_coarse": trained.test_labels("coarse")[rows].numpy().astype(np.int16),
        "embedding_fine": trained.test_labels("fine")[rows].numpy().astype(np.int16),
    }


def attention(trained: Trained, shown: int = 6) -> tuple[Metrics, Arrays]:
    """Share of spatial attention on each mask, divided by the mask's share of the area (1 = as much as its area).

    On the training images, as in Fig. 2 of "patterns": the question is what was learned from them. The map is
    that of the last stage at its own resolution.
    """
    train = trained.data.train
    maps = explain.attention_map(apply(trained.method, trained.method.trunk.maps, train, trained.device))
    metrics = {f"attention_{name}": _mean(explain.attention_share(maps, mask)) for name, mask in train.masks.items()}
    rows = torch.linspace(0, len(train) - 1, shown).long()
    return metrics, {
        "attention_images": train.pixels(rows).numpy(),
        "attention_maps": maps[rows].numpy().astype(np.float16),
    }


def attribution(trained: Trained, images: int = 64, shown: int = 6) -> tuple[Metrics, Arrays]:
    """A second witness beside attention: Integrated Gradients and layer Grad-CAM of the training target's score.

    The heads are linear without bias, so the sum of an image's own logits, one per head, is f(x) . w with w the sum
    of the heads' own rows.
    """
    train, method, names = trained.data.train, trained.method, trained.config.data
    rows = torch.linspace(0, len(train) - 1, min(images, len(train))).long()
    own = {"super_head": train.labels(names.coarse), "fine_head": train.labels(names.fine), "instance_head": None}
    w = torch.zeros(len(rows), method.trunk.dim)
    for head, labels in own.items():
        if hasattr(method, head):
            weight = getattr(method, head).weight.detach().float().cpu()
            w += weight[rows if labels is None else labels[rows]]
    method.eval()

    def score(pixels: Tensor, w: Tensor) -> Tensor:
        return (method.trunk(pixels) * w).sum(1)  # (B, d), (B, d) -> (B,)

    pixels, w = to_unit_interval(train.pixels(rows)).to(trained.device), w.to(trained.device)
    found = {
        "ig": explain.integrated_gradients(score, pixels, w),
        "gradcam": explain.layer_grad_cam(score, method.trunk.body, pixels, w),
    }
    few = torch.linspace(0, len(rows) - 1, shown).long()
    metrics: Metrics = {}
    arrays: Arrays = {"attribution_images": train.pixels(rows[few]).numpy()}
    for kind, saliency in found.items():
        arrays[f"{kind}_maps"] = saliency[few].cpu().numpy().astype(np.float16)
        for name, mask in train.masks.items():
            metrics[f"{kind}_{name}"] = _mean(explain.attention_share(saliency.cpu(), mask[rows]))
    return metrics, arrays


def bounds(trained: Trained) -> tuple[Metrics, Arrays]:
    """Theorems 1 and 2 of "patterns" on the training images; for methods with both heads, on nested levels."""
    method, train, names = trained.method, trained.data.train, trained.config.data
    both = hasattr(method, "instance_head") and hasattr(method, "super_head")
    if not both or not train.hierarchy.nested:
        return {}, {}
    features = apply(method, method.trunk, train, trained.device)
    weights = [head.weight.detach().float().cpu() for head in (method.instance_head, method.super_head)]
    labels = train.labels(names.coarse), train.labels(names.fine)
    out: Metrics = {}
    for number, theorem in (("1", theory.theorem_1), ("2", theory.theorem_2)):
        out |= {f"theorem{number}_{k}": float(v) for k, v in theorem(features, *weights, *labels).items()}
    return out, {}


MEASURES = {
    "accuracy": accuracy,
    "retrieval": retrieval,
    "wide_retrieval": wide_retrieval,
    "gallery": gallery,
    "embedding": embedding,
    "attention": attention,
    "attribution": attribution,
    "bounds": bounds,
}


def _mean(shares: Tensor) -> float:
    """Mean over the images whose map is not zero."""
    return shares.nanmean().item()


def _percent(hit: Tensor) -> float:
    return 100 * hit.any(1).double().mean().item()


def _thumbnails(images: Tensor, most: int = 48) -> np.ndarray:
    """uint8 images (n, 3, H, W) as (n, h, w, 3), no side over `most` pixels."""
    step = max(1, -(-images.shape[-1] // most))
    small = torch.nn.functional.avg_pool2d(images.float(), step) if step > 1 else images
    return small.round().byte().permute(0, 2, 3, 1).numpy()
