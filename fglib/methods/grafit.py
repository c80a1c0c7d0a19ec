"""Grafit, its parts and its competitors, as in Fig. 2 and Section 4.2 of "Grafit: Learning fine-grained image
representations with coarse labels".

    view of an image -> trunk f -> projector P -> g --+-> kNN loss against the memory of all training images
                                                      |
                                                      +-> predictor q -> instance loss against another view's target
    another view     -> target network: the moving average of f and P

At test time trunk and projector are kept. Embeddings are compared by cosine. T views of an image go through the
networks together, so that batch normalization sees all of them; losses are means over the views.
"""

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fglib.errors import ConfigError
from fglib.losses import instance_loss, knn_loss
from fglib.methods.protocol import Batch, Method, OverImages, Task
from fglib.models import Trunk, ema_update_
from fglib.models.heads import linear_projector, mlp
from fglib.models.memory import MemoryBank
from fglib.precision import at_least_float32


def each_view(network: Callable[[Tensor], Tensor], views: Tensor) -> Tensor:
    """A network's values (T, B, d), float32 at least, of views (T, B, ...) that go through it together."""
    return at_least_float32(network(views.flatten(0, 1))).unflatten(0, views.shape[:2])


class Embedder(nn.Sequential):
    """A trunk and a projector: images (B, 3, H, W) to embeddings (B, dim), the features in the projector's type."""

    def forward(self, images: Tensor) -> Tensor:
        trunk, projector = self
        return projector(trunk(images).to(next(projector.parameters()).dtype))


class _Classifier(Method):
    """A linear classifier on the trunk's features, by which images are retrieved."""

    def __init__(self, trunk: Trunk, num_classes: int) -> None:
        super().__init__(trunk)
        self.classifier = nn.Linear(trunk.dim, num_classes)

    def cross_entropy(self, f: Tensor, classes: Tensor) -> Tensor:
        """Of features (T, B, d) and classes (B,), mean over views and images."""
        return F.cross_entropy(self.classifier(f).flatten(0, 1), classes.repeat(len(f)))


class Baseline(_Classifier):
    """Cross entropy of the coarse classes; retrieval by the trunk's features."""

    label = "baseline"
    colour = "#0072B2"

    def __init__(self, trunk: Trunk, task: Task) -> None:
        super().__init__(trunk, task.num_coarse)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"total": self.cross_entropy(each_view(self.features, batch.views), batch.coarse)}

    def logits(self, images: Tensor) -> Tensor:
        """Coarse scores (B, C)."""
        return self.classifier(self.features(images))


class ClusterFitPlus(_Classifier):
    """Cross entropy of clusters: k-means on the features of a trained baseline, which `start` names (reading 19).

    clusters: their number; 1,500 for CIFAR-100 and 15,000 for ImageNet in the paper, found by cross-validation. Unless
    given, three for every hundred images, which is the paper's number on CIFAR-100.
    """

    label = "ClusterFit+"
    colour = "#E69F00"

    def __init__(self, trunk: Trunk, task: Task, clusters: int | None = None) -> None:
        clusters = max(2, round(0.03 * task.num_images)) if clusters is None else clusters
        if not 2 <= clusters <= task.num_images:
            raise ConfigError(f"clusters is {clusters}, must be from 2 to the {task.num_images} training images")
        super().__init__(trunk, clusters)
        self.teacher = (task.pretrained,)  # in a tuple: it is no part of this network
        self.register_buffer("cluster_of", torch.zeros(task.num_images, dtype=torch.long))

    def before_training(self, over_images: OverImages) -> None:
        (teacher,) = self.teacher
        if teacher is None:
            raise ConfigError(
                "method 'clusterfit_plus' clusters the features of a trained network: name its run with "
                "`start: {experiment: ..., variant: baseline}`"
            )
        from sklearn.cluster import MiniBatchKMeans

        features = F.normalize(over_images(teacher.to(self.cluster_of.device).eval()), dim=1)
        kmeans = MiniBatchKMeans(self.classifier.out_features, batch_size=4096, n_init=3, random_state=0)
        self.cluster_of.copy_(torch.from_numpy(kmeans.fit_predict(features.numpy())))
        self.teacher = (None,)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"total": self.cross_entropy(each_view(self.features, batch.views), self.cluster_of[batch.index])}


class SNCA(Method):
    """The kNN loss alone (Eqs. 2 and 3), on a linear projector.

    dim: of the embedding, 128 unless given. temperature: sigma. renormalize, momentum: of the memory.
    """

    label = "SNCA"
    colour = "#56B4E9"

    make_projector = staticmethod(linear_projector)
    default_dim = 128

    def __init__(
        self,
        trunk: Trunk,
        task: Task,
        dim: int | None = None,
        temperature: float = 0.05,
        renormalize: bool = True,
        momentum: float = 0.5,
    ) -> None:
        super().__init__(trunk)
        self.dim, self.temperature = self.default_dim if dim is None else dim, temperature
        if self.dim < 1 or not temperature > 0:
            raise ConfigError(f"dim is {dim} and temperature {temperature}: both must be positive")
        self.projector = self.make_projector(trunk.dim, self.dim)  # P
        self.memory = MemoryBank(task.num_images, self.dim, renormalize, momentum)
        self.register_buffer("labels", task.coarse.clone(), persistent=False)

    def before_training(self, over_images: OverImages) -> None:
        self.memory.fill(over_images(self.embed))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"total": self.knn_loss(self.project(batch), batch)}

    def project(self, batch: Batch) -> Tensor:
        """Embeddings g (T, B, dim) of the views, kept for the memory."""
        g = each_view(self.embed, batch.views)
        self.seen = F.normalize(g.detach(), dim=2).mean(0)  # (B, dim)
        return g

    def knn_loss(self, g: Tensor, batch: Batch) -> Tensor:
        """Of every view against the memory."""
        views = [knn_loss(view, self.memory.vectors, batch.index, self.labels, self.temperature) for view in g]
        return torch.stack(views).mean()

    def embed(self, images: Tensor) -> Tensor:
        """g = P(f(images)) (B, dim)."""
        return self.projector(self.features(images))

    def after_step(self, batch: Batch) -> None:
        self.memory.update(batch.index, self.seen)

    def after_training(self, over_images: OverImages) -> None:
        self.memory.fill(over_images(self.embed))  # all slots from the same, the final weights


class SNCAPlus(SNCA):
    """SNCA with Grafit's projector, an MLP; `dim` is 256 unless given."""

    label = "SNCA+"
    colour = "#CC79A7"

    make_projector = staticmethod(mlp)
    default_dim = 256


class Grafit(SNCAPlus):
    """The kNN loss and the instance loss (Eq. 4).

    knn_weight, instance_weight: of the two losses, 1 in the paper. tau: decay of the target network at the start.
    """

    label = "Grafit"
    colour = "#D55E00"

    def __init__(
        self,
        trunk: Trunk,
        task: Task,
        knn_weight: float = 1.0,
        instance_weight: float = 1.0,
        tau: float = 0.996,
        **knn_options,
    ) -> None:
        super().__init__(trunk, task, **knn_options)
        self.knn_weight, self.instance_weight = knn_weight, instance_weight
        self.instance = InstanceBranch(self.online, self.dim, tau)

    @property
    def online(self) -> Embedder:
        """g_theta: trunk and projector."""
        return Embedder(self.trunk, self.projector)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        g = self.project(batch)
        knn, instance = self.knn_loss(g, batch), self.instance(g, batch.views)
        return {"total": self.knn_weight * knn + self.instance_weight * instance, "knn": knn, "instance": instance}

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.instance.follow(self.online, batch.progress)


class GrafitFC(Grafit):
    """Grafit with SNCA's linear projector; `dim` is 128 unless given."""

    label = "Grafit FC"
    colour = "#009E73"

    make_projector = staticmethod(linear_projector)
    default_dim = 128


class Inst(Method):
    """The instance loss alone, on the trunk's features: no label is used (Table 5, third row)."""

    label = "instance loss alone"
    colour = "#7F7F7F"

    def __init__(self, trunk: Trunk, task: Task, tau: float = 0.996) -> None:
        super().__init__(trunk)
        self.instance = InstanceBranch(trunk, trunk.dim, tau)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"total": self.instance(each_view(self.features, batch.views), batch.views)}

    def after_step(self, batch: Batch) -> None:
        self.instance.follow(self.trunk, batch.progress)


class CEInst(Baseline):
    """Cross entropy and the instance loss, both on the trunk's features (Table 5, fourth row)."""

    label = "cross entropy + instance loss"
    colour = "#8C6D31"

    def __init__(self, trunk: Trunk, task: Task, instance_weight: float = 1.0, tau: float = 0.996) -> None:
        super().__init__(trunk, task)
        self.instance_weight = instance_weight
        self.instance = InstanceBranch(trunk, trunk.dim, tau)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        f = each_view(self.features, batch.views)
        coarse, instance = self.cross_entropy(f, batch.coarse), self.instance(f, batch.views)
        return {"total": coarse + self.instance_weight * instance, "coarse": coarse, "instance": instance}

    def after_step(self, batch: Batch) -> None:
        self.instance.follow(self.trunk, batch.progress)


class InstanceBranch(nn.Module):
    """The instance loss beside an online network g: a predictor q and the target network, the moving average of g.

    online: images -> (B, dim). The target starts as a copy and gets no gradient.
    """

    def __init__(self, online: nn.Module, dim: int, tau: float) -> None:
        super().__init__()
        if not 0 <= tau <= 1:
            raise ConfigError(f"tau is {tau}, must be in [0, 1]")
        self.target = copy.deepcopy(online).requires_grad_(False)
        for module in self.target.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                # it normalizes by the batch in training, and its statistics move with the average and not by themselves
                module.track_running_stats = False
        self.predictor = mlp(dim, dim, 4 * dim)
        self.tau = tau

    def forward(self, g: Tensor, views: Tensor) -> Tensor:
        """Eq. 1 for embeddings g (T, B, dim) of views (T, B, 3, H, W), the views that gave them."""
        if len(views) < 2:
            raise ConfigError("the instance loss compares two views of an image: set augment.views to 2 or more")
        with torch.no_grad():
            target = each_view(self.target, views)
        return instance_loss(each_view(self.predictor, g), target)

    def follow(self, online: nn.Module, progress: float) -> None:
        """xi <- tau xi + (1 - tau) theta; tau rises to 1 on a cosine over the training, as in BYOL (reading 13)."""
        ema_update_(self.target, online, 1 - (1 - self.tau) * (1 + math.cos(math.pi * progress)) / 2)
