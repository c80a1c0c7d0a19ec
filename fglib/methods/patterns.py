"""Base, Fine, Indi, Base-Indi and Base-Indi_eff of "Representation Learning with Fine-grained Patterns".

Every method is the same trunk f under one or two linear heads without bias: W^B over super-classes, W^I over
training images. f is normalized in no loss; retrieval ranks by its cosine. Weight decay acts on all of W^I at
every step, also on the rows of images that are not in the batch.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from fglib.errors import ConfigError
from fglib.losses import instance_cross_entropy, instance_cross_entropy_within
from fglib.methods.protocol import Batch, Method, Task
from fglib.models import Trunk


class Base(Method):
    """Super-classes only (Eq. 1)."""

    label = "Base"
    colour = "#0072B2"

    def __init__(self, trunk: Trunk, task: Task) -> None:
        super().__init__(trunk)
        self.super_head = nn.Linear(trunk.dim, task.num_coarse, bias=False)  # W^B

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        f = self.features(batch.views[0])
        return {"total": F.cross_entropy(self.super_head(f), batch.coarse)}

    def logits(self, images: Tensor) -> Tensor:
        """Super-class scores (B, C)."""
        return self.super_head(self.features(images))


class Fine(Method):
    """Fine classes, the ceiling (Eq. 2); only with `use_fine: true`."""

    label = "Fine"
    colour = "#7F7F7F"

    needs_fine = True

    def __init__(self, trunk: Trunk, task: Task) -> None:
        super().__init__(trunk)
        self.fine_head = nn.Linear(trunk.dim, task.num_fine, bias=False)  # W^F

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        f = self.features(batch.views[0])
        return {"total": F.cross_entropy(self.fine_head(f), batch.fine)}


class _Instances(Method):
    """A method with W^I, the weights of the training images, which the optimizer may treat on their own.

    The paper treats them as all other weights. A row is pulled by its own image once an epoch only, so that in a short
    training the defaults hardly teach it. instance_rate: a factor of the learning rate for W^I. instance_decay: its
    weight decay, that of the configuration unless given. instance_start: "random", or "zero", where every image is as
    likely as any other.
    """

    def add_instance_head(self, dim: int, images: int, rate: float, decay: float | None, start: str) -> None:
        """W^I for so many images and features of `dim`; ConfigError for options that do not fit."""
        if not (rate > 0 and (decay is None or decay >= 0) and start in ("random", "zero")):
            raise ConfigError(
                f"instance_rate is {rate}, instance_decay {decay} and instance_start {start!r}: a rate is above 0, a "
                "decay at least 0 and a start 'random' or 'zero'"
            )
        self.instance_head = nn.Linear(dim, images, bias=False)  # W^I
        if start == "zero":
            nn.init.zeros_(self.instance_head.weight)
        self.instance_settings = {"rate": rate} | ({} if decay is None else {"weight_decay": decay})

    def parameter_groups(self) -> list[dict]:
        own = self.instance_head.weight
        rest = [p for p in self.parameters() if p is not own]
        return [{"params": rest}, {"params": [own], **self.instance_settings}]


class Indi(_Instances):
    """Every training image its own class (Eq. 3). The options are those of `_Instances`."""

    label = "Indi"
    colour = "#E69F00"

    def __init__(
        self,
        trunk: Trunk,
        task: Task,
        instance_rate: float = 1.0,
        instance_decay: float | None = None,
        instance_start: str = "random",
    ) -> None:
        super().__init__(trunk)
        self.add_instance_head(trunk.dim, task.num_images, instance_rate, instance_decay, instance_start)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        f = self.features(batch.views[0])
        return {"total": instance_cross_entropy(f, self.instance_head.weight, batch.index)}


class BaseIndi(_Instances, Base):
    """Super-classes and images together (Eq. 4), balanced by lambda_I. The other options are those of `_Instances`."""

    label = "Base-Indi"
    colour = "#D55E00"

    def __init__(
        self,
        trunk: Trunk,
        task: Task,
        lambda_i: float = 1.0,
        instance_rate: float = 1.0,
        instance_decay: float | None = None,
        instance_start: str = "random",
    ) -> None:
        super().__init__(trunk, task)
        self.lambda_i = lambda_i
        self.add_instance_head(trunk.dim, task.num_images, instance_rate, instance_decay, instance_start)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        f = self.features(batch.views[0])
        superclass = F.cross_entropy(self.super_head(f), batch.coarse)
        instance = self.instance_loss(f, batch)
        return {
            "total": superclass + self.lambda_i * instance,
            "superclass": superclass,
            "instance": instance,
        }

    def instance_loss(self, f: Tensor, batch: Batch) -> Tensor:
        """Second term of Eq. 4, over all training images."""
        return instance_cross_entropy(f, self.instance_head.weight, batch.index)


class BaseIndiEff(BaseIndi):
    """Base-Indi with the instance softmax restricted to the image's own super-class (Eq. 5)."""

    label = "Base-Indi (eff)"
    colour = "#CC79A7"

    def __init__(self, trunk: Trunk, task: Task, lambda_i: float = 1.0, **instances) -> None:
        super().__init__(trunk, task, lambda_i, **instances)
        self.register_buffer("superclass_of", task.coarse.clone(), persistent=False)

    def instance_loss(self, f: Tensor, batch: Batch) -> Tensor:
        """Second term of Eq. 5."""
        return instance_cross_entropy_within(f, self.instance_head.weight, batch.index, self.superclass_of)
