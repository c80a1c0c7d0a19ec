"""A trained method with its data, as every measure takes it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fglib.config import RunConfig
from fglib.data.images import DataSet
from fglib.inference import apply, embed
from fglib.methods import Method

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

    @cached_property
    def train_features(self) -> Tensor:
        """Retrieval features (n, d) of the training set, which is the collection that Grafit searches."""
        return embed(self.method, self.data.train, self.device)

    @cached_property
    def trunk_features(self) -> tuple[Tensor, Tensor]:
        """Trunk features of the training and the test set; the retrieval features where nothing stands on the trunk."""
        if not hasattr(self.method, "projector"):
            return self.train_features, self.test_features
        return apply(self.method, self.method.trunk, self.data.train, self.device), self.on_test(self.method.trunk)

    @cached_property
    def test_scores(self) -> Tensor:
        """Scores (n, C) of the test set, for methods with a classifier."""
        return self.on_test(self.method.logits)

    def on_test(self, function: Callable[[Tensor], Tensor], batch_size: int = 512) -> Tensor:
        """`function` of all test images, as `fglib.inference.apply` takes it."""
        return apply(self.method, function, self.data.test, self.device, batch_size)

    def there(self, *tensors: Tensor) -> list[Tensor]:
        """Tensors on the device."""
        return [tensor.to(self.device) for tensor in tensors]

    def train_labels(self, kind: str) -> Tensor:
        """Labels (n,) of the training set at the level that is `coarse` or `fine` in this configuration."""
        return self.data.train.labels(getattr(self.config.data, kind))

    def num_classes(self, kind: str) -> int:
        """Number of classes of that level."""
        return self.data.hierarchy.num_classes(getattr(self.config.data, kind))

    def class_names(self, kind: str) -> np.ndarray:
        """Names (C,) of the classes of that level."""
        return np.array(self.data.hierarchy.classes[getattr(self.config.data, kind)])

    def test_labels(self, kind: str) -> Tensor:
        """Labels (n,) of the test set at the level that is `coarse` or `fine` in this configuration."""
        return self.data.test.labels(getattr(self.config.data, kind))


def evenly(n: int, most: int) -> Tensor:
    """Up to `most` of the rows 0 ... n - 1, evenly spread."""
    return torch.linspace(0, n - 1, min(most, n)).long()


def percent(hit: Tensor) -> float:
    """Share of true among values (n,) bool, in percent; NaN for none."""
    return 100 * hit.double().mean().item()


def best_one_and_five(trained: Trained) -> tuple[float, float]:
    """Top-1 and top-5 (%) of the classifier at the level that is trained on, on the test set."""
    best = trained.test_scores.topk(min(5, trained.test_scores.shape[1])).indices
    hit = best == trained.test_labels("coarse")[:, None]
    return percent(hit[:, 0]), percent(hit.any(1))


def thumbnails(images: Tensor, most: int = 48) -> np.ndarray:
    """uint8 images (n, 3, H, W) as (n, h, w, 3), no side over `most` pixels."""
    step = max(1, -(-images.shape[-1] // most))
    small = F.avg_pool2d(images.float(), step) if step > 1 else images
    return small.round().byte().permute(0, 2, 3, 1).numpy()
