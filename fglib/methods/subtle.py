"""The network of "Fine-grained Recognition: Accounting for Subtle Differences between Similar Classes" (Fig. 2), its
plain version, and the losses that the paper compares its own with (Table 4).

    image -> trunk -> classifier at every place -> class maps -> diversification block -> average pooling -> scores
                                                                 (in training alone)

A method is the block or none, and a loss. All classify at the training level.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fglib.errors import ConfigError
from fglib.losses import (
    center_loss,
    gaussian_mixture_loss,
    gradient_boosting_cross_entropy,
    maximum_entropy_loss,
    pairwise_confusion_loss,
)
from fglib.methods.protocol import Batch, Method, Task, take_weights
from fglib.models import ClassMapHead, DiversificationBlock, Trunk, bilinear_upsample, update_centers_
from fglib.precision import at_least_float32


class Plain(Method):
    """The plain network: global average pooling, one linear classifier, cross entropy.

    The trunk starts from that of the run that `start` names, where there is one.
    """

    label = "plain network"
    colour = "#0072B2"

    def __init__(self, trunk: Trunk, task: Task) -> None:
        super().__init__(trunk)
        if task.pretrained is not None:
            take_weights(trunk, task)
        self.head = ClassMapHead(nn.Linear(trunk.dim, task.num_coarse))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch.merged()
        features = self.feature_maps(images)
        return self.criterion(self.scores(features), labels, features, batch.progress)

    def scores(self, features: Tensor) -> Tensor:
        """Scores (B, C), float32 at least, of feature maps (B, N, h, w)."""
        return at_least_float32(self.head(features))

    def criterion(self, scores: Tensor, labels: Tensor, features: Tensor, progress: float) -> dict[str, Tensor]:
        """Named losses of scores (B, C) and labels (B,), with the feature maps (B, N, h, w) that gave the scores."""
        return {"total": F.cross_entropy(scores, labels)}

    def logits(self, images: Tensor) -> Tensor:
        """Scores (B, C)."""
        return self.scores(self.feature_maps(images))

    def class_maps(self, images: Tensor) -> Tensor:
        """Class activation maps (B, C, h, w), nothing suppressed."""
        return self.head.maps(self.feature_maps(images))

    def location_maps(self, images: Tensor) -> Tensor:
        """Class activation map (B, H, W) of the class that is predicted, bilinear at the size of the images."""
        features = self.feature_maps(images)
        predicted = self.scores(features).argmax(1)
        rows = torch.arange(len(features), device=features.device)
        return bilinear_upsample(self.head.maps(features)[rows, predicted, None], images.shape[-2:])[:, 0]


class GCE(Plain):
    """The gradient-boosting cross entropy (Eq. 12) instead of cross entropy.

    k: negatives that are kept, the paper's 15 unless given; exact_k: of those that tie at the k-th score keep only as
    many as make k. start_at: the part of the training that goes before, with cross entropy; half on ImageNet.
    """

    label = "GCE"
    colour = "#E69F00"

    def __init__(self, trunk: Trunk, task: Task, k: int = 15, exact_k: bool = False, start_at: float = 0.0) -> None:
        super().__init__(trunk, task)
        if isinstance(k, bool) or not isinstance(k, int) or k < 1 or not 0 <= start_at <= 1:
            raise ConfigError(f"k is {k} and start_at {start_at}, must be a whole number from 1 and a part from 0 to 1")
        self.k, self.exact_k, self.start_at = k, exact_k, start_at

    def criterion(self, scores: Tensor, labels: Tensor, features: Tensor, progress: float) -> dict[str, Tensor]:
        if progress < self.start_at:
            return super().criterion(scores, labels, features, progress)
        return {"total": gradient_boosting_cross_entropy(scores, labels, self.k, self.exact_k)}


class _Diversified(Plain):
    """A method with the diversification block between its class maps and their pooling (Section 3.1)."""

    def __init__(
        self,
        trunk: Trunk,
        task: Task,
        p_peak: float = 0.5,
        p_patch: float = 0.5,
        patch_size: int = 3,
        alpha: float = 0.1,
        **of_the_loss,
    ) -> None:
        super().__init__(trunk, task, **of_the_loss)
        self.head.block = DiversificationBlock(p_peak, p_patch, patch_size, alpha)


class DB(_Diversified):
    """Diversification block and cross entropy. With alpha 1 it is the plain network."""

    label = "DB"
    colour = "#009E73"


class DBGCE(_Diversified, GCE):
    """Diversification block and gradient-boosting cross entropy: the paper's method."""

    label = "DB + GCE"
    colour = "#D55E00"


class DBSmoothing(_Diversified):
    """Diversification block and cross entropy with label smoothing (Szegedy et al. 2016)."""

    label = "DB + label smoothing"
    colour = "#B0B0B0"

    def __init__(self, trunk: Trunk, task: Task, smoothing: float = 0.1, **block) -> None:
        super().__init__(trunk, task, **block)
        if not 0 <= smoothing <= 1:
            raise ConfigError(f"smoothing is {smoothing}, must be from 0 to 1")
        self.smoothing = smoothing

    def criterion(self, scores: Tensor, labels: Tensor, features: Tensor, progress: float) -> dict[str, Tensor]:
        return {"total": F.cross_entropy(scores, labels, label_smoothing=self.smoothing)}


class DBMaxEnt(_Diversified):
    """Diversification block and maximum entropy. weight: of the entropy."""

    label = "DB + maximum entropy"
    colour = "#003B5C"

    def __init__(self, trunk: Trunk, task: Task, weight: float = 1.0, **block) -> None:
        super().__init__(trunk, task, **block)
        self.weight = weight

    def criterion(self, scores: Tensor, labels: Tensor, features: Tensor, progress: float) -> dict[str, Tensor]:
        return {"total": maximum_entropy_loss(scores, labels, self.weight)}


class DBPC(_Diversified):
    """Diversification block and pairwise confusion. weight: of the distance between two predictions."""

    label = "DB + pairwise confusion"
    colour = "#7F7F7F"

    def __init__(self, trunk: Trunk, task: Task, weight: float = 1.0, **block) -> None:
        super().__init__(trunk, task, **block)
        self.weight = weight

    def criterion(self, scores: Tensor, labels: Tensor, features: Tensor, progress: float) -> dict[str, Tensor]:
        return {"total": pairwise_confusion_loss(scores, labels, self.weight)}


class DBCenter(_Diversified):
    """Diversification block, cross entropy and the center loss of Wen et al. (ECCV 2016) on the pooled features.

    weight, momentum: their lambda and alpha. A center moves by `momentum` towards the mean of its class in the batch.
    """

    label = "DB + center loss"
    colour = "#CC79A7"

    def __init__(self, trunk: Trunk, task: Task, weight: float = 0.003, momentum: float = 0.5, **block) -> None:
        super().__init__(trunk, task, **block)
        if not 0 <= momentum <= 1:
            raise ConfigError(f"momentum is {momentum}, must be from 0 to 1")
        self.weight, self.momentum = weight, momentum
        self.register_buffer("centers", torch.zeros(task.num_coarse, 1, trunk.dim))

    def criterion(self, scores: Tensor, labels: Tensor, features: Tensor, progress: float) -> dict[str, Tensor]:
        pooled = at_least_float32(features).mean((2, 3))[:, None]  # (B, 1, N)
        self.seen, self.seen_labels = pooled.detach(), labels  # for the centers, which move after the step
        entropy, center = F.cross_entropy(scores, labels), center_loss(pooled, labels, self.centers)
        return {"total": entropy + self.weight * center, "cross_entropy": entropy, "center": center}

    def after_step(self, batch: Batch) -> None:
        update_centers_(self.centers, self.seen, self.seen_labels, self.momentum)


class DBLGM(_Diversified):
    """Diversification block and the large-margin Gaussian mixture of Wan et al. (CVPR 2018), with unit covariance.

    The features of the mixture are the pooled class maps (B, C), which the other methods take as scores; its means, one
    per class, are learned and start as unit vectors. So what the block suppresses is missing in the features alone. In
    the distance of the trunk's features f to a mean w, |f|^2 / 2 - f w + |w|^2 / 2, the block would scale f w and
    neither square: features at their mean would still be far from it. margin, likelihood: as in
    `gaussian_mixture_loss`.
    """

    label = "DB + LGM"
    colour = "#56B4E9"

    def __init__(self, trunk: Trunk, task: Task, margin: float = 0.1, likelihood: float = 0.1, **block) -> None:
        super().__init__(trunk, task, **block)
        if margin < 0 or likelihood < 0:
            raise ConfigError(f"margin is {margin} and likelihood {likelihood}: neither may be negative")
        self.means = nn.Parameter(torch.eye(task.num_coarse))
        self.margin, self.likelihood = margin, likelihood

    def scores(self, features: Tensor) -> Tensor:
        """Minus half the squared distance (B, C) of the pooled class maps to every mean."""
        pooled = super().scores(features)
        return -(pooled[:, None] - self.means).square().sum(2) / 2  # (B, 1, C) - (C, C)

    def criterion(self, scores: Tensor, labels: Tensor, features: Tensor, progress: float) -> dict[str, Tensor]:
        return {"total": gaussian_mixture_loss(-scores, labels, self.margin, self.likelihood)}
