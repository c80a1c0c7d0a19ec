"""The configuration of a run: frozen dataclasses, built from plain mappings, hashed into the run's key.

An unknown or ill-typed key and a value out of range are errors that name the key and where it stands.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal

from fglib.checked import Checked
from fglib.checked import build as build
from fglib.errors import ConfigError

# Generators take 64 bits, and that of an epoch is given the seed times 1,000,003 plus the epoch: so far both fit.
Seed = Annotated[int, "[0, 4294967295]"]


@dataclass(frozen=True)
class DataConfig(Checked, section="data"):
    """A named set (`fglib data` lists them), its coarse level (trained on) and its fine level (tested on)."""

    name: str
    coarse: str
    fine: str
    size: Annotated[int, "[1, 10000]"] | None = None  # pixels of the square image; None: the set's own default
    options: dict = field(default_factory=dict)
    # part of the training images, by coarse class, that takes the place of the test set: to choose without looking
    validation: Annotated[float, "[0, 0.5]"] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("name", "root", "size", "download"):  # arguments of the reader that are no options
            if key in self.options:
                raise ConfigError(f"data.options has the key '{key}', which is no option of a data set; leave it out")


Zoom, Part = Annotated[float, "(0, inf)"], Annotated[float, "(0, 1]"]


@dataclass(frozen=True)
class AugmentConfig(Checked, section="augment"):
    """Random views of a training image, drawn per image."""

    views: Annotated[int, "[1, 100]"] = 1
    pad_crop: Annotated[int, "[0, 1000]"] = 0  # pixels of zero padding before a random crop to the image's own size
    flip: bool = False
    degrees: Annotated[float, "[0, 360]"] = 0.0
    translate: Annotated[float, "[0, 1]"] = 0.0  # fraction of the side
    scale: tuple[Zoom, Zoom] = (1.0, 1.0)  # smallest and largest
    resized_crop: tuple[Part, Part] | None = None  # smallest and largest part of the area that is kept
    # pixels of the square that it is resized to; None: the image's own, which is what is measured with
    size: Annotated[int, "[1, 10000]"] | None = None
    # number of operations and their magnitude
    randaugment: tuple[Annotated[int, "[1, 15]"], Annotated[float, "(0, 30)"]] | None = None
    erasing: Annotated[float, "[0, 1]"] = 0.0  # probability that a random rectangle becomes black

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scale", "resized_crop"):
            ends = getattr(self, name)
            if ends is not None and ends[0] > ends[1]:
                raise self.refused(name, "the smallest and the largest, in this order")
        if self.size and not self.resized_crop:
            raise self.refused("size", "null without augment.resized_crop, which gives views their size")

    def size_of_views(self, own: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the views of images of their own size."""
        return (self.size, self.size) if self.size else own


@dataclass(frozen=True)
class ModelConfig(Checked, section="model"):
    """The trunk: `small_resnet` (width, blocks), `whitened` (width), `efficientnet_lite0`, `timm:<name>`, or one of
    torchvision's ResNets, ResNeXts, RegNets and InceptionV3."""

    backbone: str = "resnet18"
    stem: Literal["224px", "32px"] = "224px"  # "32px": a 3x3 convolution of stride 1 and no max-pool
    width: Annotated[int, "[1, 4096]"] = 64
    blocks: tuple[Annotated[int, "[1, 100]"], ...] = (2, 2, 2)  # of each stage, the next of twice the width
    weights: str | None = None  # imagenet; of torchvision's networks a name such as IMAGENET1K_V1
    layer: str | None = None  # the layer whose output is the feature map, such as layer3 or Mixed_6e; None: the last

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.blocks) <= 8:
            raise self.refused("blocks", "the number of blocks of 1 to 8 stages")
        if self.backbone == "whitened" and self.width < 2:  # its first stage has half
            raise self.refused("width", "at least 2 for the whitened network")


@dataclass(frozen=True)
class MethodConfig:
    """A method of `fglib.methods.METHODS` and its hyper-parameters."""

    name: str
    options: dict = field(default_factory=dict)


@dataclass(frozen=True)
class StartConfig:
    """The run whose trunk a method starts from, of the same preset and seed."""

    experiment: str
    variant: str
    preset: str = ""  # filled in, as is the key of that run's configuration
    key: str = ""


@dataclass(frozen=True)
class TrainConfig(Checked, section="train"):
    """The optimizer, its schedule, and what of the trunk it trains."""

    epochs: Annotated[int, "[1, 1000000]"]
    batch_size: Annotated[int, "[2, 1000000]"]  # batch normalization needs two images
    lr: Annotated[float, "(0, inf)"]
    momentum: Annotated[float, "[0, 1)"] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, "[0, inf)"] = 5e-4
    schedule: Literal["step", "cosine", "onecycle", "constant"] = "step"
    peak: Annotated[float, "(0, 1)"] = 0.3  # part of the training that is over when onecycle is at its highest
    milestones: tuple[Annotated[int, "[0, 1000000]"], ...] = ()  # epochs, for schedule step
    gamma: Annotated[float, "(0, 1]"] = 0.1  # factor at a milestone
    warmup_epochs: Annotated[float, "[0, 1000000]"] = 0.0
    # of products; auto: bfloat16 where it is clearly faster. Like the device a setting of the execution: not in the key
    precision: Literal["float32", "bf16", "auto"] = "float32"
    channels_last: bool = True
    compile: bool = False
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr_heads: Annotated[float, "(0, inf)"] = 1.0  # factor of the learning rate for all that is not the trunk
    freeze: str | None = None  # the stage up to which the trunk keeps its weights, such as block4
    # batch normalization keeps the statistics that it came with; None: where model.weights is imagenet
    freeze_bn: bool | None = None
    # views of an image that are taken through the frozen stages once and kept on disk; 0: images are read in every step
    cache_views: Annotated[int, "[0, 1000]"] = 0
    # epochs between errors on training and test set, kept in the history; 0: never
    errors_every: Annotated[int, "[0, 1000000]"] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise self.refused("momentum", "above 0 where train.nesterov is true")
        if self.cache_views and self.freeze is None:
            raise self.refused("cache_views", "0 without train.freeze, which names the stages that are computed once")
        if any(later <= earlier for earlier, later in pairwise(self.milestones)):
            raise self.refused("milestones", "epochs in ascending order")


@dataclass(frozen=True)
class RunConfig(Checked):
    """Everything that decides the numbers of one run. `use_fine` permits training on the fine labels."""

    data: DataConfig
    method: MethodConfig
    train: TrainConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    start: StartConfig | None = None
    measure: tuple[str, ...] = ("accuracy", "retrieval")
    use_fine: bool = False
    seed: Seed = 0

    def to_dict(self) -> dict:
        """The configuration as plain JSON values, defaults included."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def key(self) -> str:
        """Ten hex digits that stand for this training.

        What is measured afterwards is left out: weights do not depend on it. So is the precision, which like the device
        says how and not what, and so are values at their default: a new field with a default that changes nothing keeps
        the records made before it.
        """
        return self._key

    @cached_property
    def _key(self) -> str:
        train = dataclasses.replace(self.train, precision="float32")
        text = json.dumps(_non_default(dataclasses.replace(self, measure=(), train=train)), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]


def _non_default(config: Any) -> dict:
    out = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        if dataclasses.is_dataclass(value):
            value, default = _non_default(value), {}
        if value != default:
            out[f.name] = value
    return out
