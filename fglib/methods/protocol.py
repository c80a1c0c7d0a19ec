"""What the training loop and a method say to each other: the task, the batch, the three members."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fglib.data.hierarchy import ROOT
from fglib.data.images import ImageSet
from fglib.errors import ConfigError, HiddenLabelsError

# a function of images (B, 3, H, W) -> its values (n, ...) for all training images by index, in evaluation mode
OverImages = Callable[[Callable[[Tensor], Tensor]], Tensor]


@dataclass(frozen=True)
class Task:
    """What a method may know of its training set before it sees a batch."""

    num_images: int
    num_coarse: int
    coarse: Tensor  # (num_images,) coarse label of every training image
    num_fine: int | None = None  # None when the fine labels are hidden
    pretrained: nn.Module | None = None  # the trunk of the run that the configuration starts from

    @classmethod
    def of(cls, train: ImageSet, coarse: str, fine: str | None, pretrained: nn.Module | None = None) -> "Task":
        """The task of a training set; `fine` is None when the fine labels are hidden.

        Raises ConfigError when a level that is trained on has fewer than two classes, unless it is the level
        "everything", which stands for training without labels.
        """
        for level in (coarse, fine):
            if level not in (None, ROOT) and train.hierarchy.num_classes(level) < 2:
                raise ConfigError(
                    f"level '{level}' has a single class, {train.hierarchy.classes[level][0]!r}: there is "
                    "nothing to tell apart; choose a finer level or add a class"
                )
        num_fine = None if fine is None else train.hierarchy.num_classes(fine)
        return cls(len(train), train.hierarchy.num_classes(coarse), train.labels(coarse), num_fine, pretrained)


@dataclass(frozen=True)
class Batch:
    """One batch: views (T, B, 3, H, W) in [0, 1], coarse (B,), index (B,) into the training set.

    progress: the part of the training that is done, from 0 to 1.
    """

    views: Tensor
    coarse: Tensor
    index: Tensor
    fine_labels: Tensor | None = field(default=None, repr=False)
    progress: float = 0.0

    @property
    def fine(self) -> Tensor:
        """Fine labels (B,), only where the experiment permits them; HiddenLabelsError otherwise."""
        if self.fine_labels is None:
            raise HiddenLabelsError(
                "a method asked for the fine labels of a batch, which the configuration hides; set `use_fine: true`"
            )
        return self.fine_labels

    def merged(self) -> tuple[Tensor, Tensor]:
        """All views as one batch of images (T B, 3, H, W), and their coarse labels (T B,)."""
        return self.views.flatten(0, 1), self.coarse.repeat(len(self.views))


class Method(nn.Module):
    """Base of all methods; see the package's docstring for the members.

    A trunk may give its features in any float type: methods take them by `features` and `feature_maps`, in the type of
    their own heads, which is float32 unless the method was cast.
    """

    label = ""  # how tables and figures name it
    colour = ""  # how they draw it
    needs_fine = False  # trains on the fine labels
    needs_pixels = False  # looks at the pixels of views besides what the trunk makes of them
    builds_trunk = True  # stands on the network that the configuration's `model` describes

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("precision", torch.zeros(()), persistent=False)  # its type is that of the heads

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses of a batch; "total" is what is minimized."""
        raise NotImplementedError

    def embed(self, images: Tensor) -> Tensor:
        """Features (B, d) used for retrieval, of images (B, 3, H, W) in [0, 1]."""
        return self.features(images)

    def features(self, images: Tensor) -> Tensor:
        """The trunk's features (B, d) in the type of the heads."""
        return self.trunk(images).to(self.precision.dtype)

    def feature_maps(self, images: Tensor) -> Tensor:
        """The trunk's last feature map (B, N, h, w) in the type of the heads."""
        return self.trunk.maps(images).to(self.precision.dtype)

    def parameter_groups(self) -> list[dict]:
        """What the optimizer trains, as groups of parameters; by default all of them, alike.

        A group may have settings of its own, such as `weight_decay`, and `rate`, a factor of the learning rate.
        """
        return [{"params": list(self.parameters())}]

    def before_training(self, over_images: OverImages) -> None:
        """State that needs all training images before the first step, such as a memory; nothing by default."""

    def after_step(self, batch: Batch) -> None:
        """State written after the optimizer's step; nothing by default."""

    def after_training(self, over_images: OverImages) -> None:
        """State made with the final weights; nothing by default."""


def take_weights(network: nn.Module, task: Task, what: str = "trunk") -> None:
    """Give a network the weights of the run that the configuration starts from.

    Raises ConfigError naming `what` the network is when that run's is another one.
    """
    try:
        network.load_state_dict(task.pretrained.state_dict())
    except RuntimeError as e:
        raise ConfigError(
            f"the {what} of the run that `start` names is another network: give both runs the same `model` and options"
        ) from e
