"""The configuration of a run: frozen dataclasses, built from plain mappings, hashed into the run's key.

An unknown or ill-typed key is an error that names the key and where it stands.
"""

import dataclasses
import hashlib
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from fglib.errors import ConfigError, unknown


@dataclass(frozen=True)
class DataConfig:
    """A named set (`fglib data` lists them), its coarse level (trained on) and its fine level (tested on)."""

    name: str
    coarse: str
    fine: str
    size: int | None = None  # pixels of the square image; None: the set's own default
    options: dict = field(default_factory=dict)


@dataclass(frozen=True)
class AugmentConfig:
    """Random views of a training image, drawn per image."""

    views: int = 1
    pad_crop: int = 0  # pixels of zero padding before a random crop to the image's own size
    flip: bool = False
    degrees: float = 0.0
    translate: float = 0.0  # fraction of the side
    scale: tuple[float, float] = (1.0, 1.0)
    resized_crop: tuple[float, float] | None = None  # smallest and largest part of the area that is kept
    randaugment: tuple[int, float] | None = None  # number of operations and their magnitude, from 0 to 30
    erasing: float = 0.0  # probability that a random rectangle becomes black


@dataclass(frozen=True)
class ModelConfig:
    """The trunk: `small_resnet` (width, blocks), `whitened` (width), or a ResNet, ResNeXt, RegNet or InceptionV3."""

    backbone: str = "resnet18"
    stem: str = "224px"  # "32px": a 3x3 convolution of stride 1 and no max-pool
    width: int = 64
    blocks: tuple[int, ...] = (2, 2, 2)
    weights: str | None = None  # a torchvision weight name, such as IMAGENET1K_V1
    layer: str | None = None  # the layer whose output is the feature map, such as layer3 or Mixed_6e; None: the last


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
class TrainConfig:
    """Stochastic gradient descent and its schedule."""

    epochs: int
    batch_size: int
    lr: float
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: str = "step"  # step | cosine | onecycle | constant
    milestones: tuple[int, ...] = ()  # epochs, for schedule step
    gamma: float = 0.1  # factor at a milestone
    warmup_epochs: float = 0.0
    amp: str = "off"  # off | bf16
    channels_last: bool = True
    compile: bool = False
    errors_every: int = 0  # epochs between errors on training and test set, kept in the history; 0: never


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of one run. `use_fine` permits training on the fine labels."""

    data: DataConfig
    method: MethodConfig
    train: TrainConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    start: StartConfig | None = None
    measure: tuple[str, ...] = ("accuracy", "retrieval")
    use_fine: bool = False
    seed: int = 0

    def to_dict(self) -> dict:
        """The configuration as plain JSON values, defaults included."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def key(self) -> str:
        """Ten hex digits that stand for this training.

        What is measured afterwards is left out: weights do not depend on it. So are values at their default: a
        new field with a default that changes nothing keeps the records made before it.
        """
        text = json.dumps(_non_default(dataclasses.replace(self, measure=())), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]


def _non_default(config: Any) -> dict:
    out = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            value = _non_default(value)
            if value:
                out[f.name] = value
        elif _required(f) or value != _default(f):
            out[f.name] = value
    return out


def _required(f: dataclasses.Field) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _default(f: dataclasses.Field) -> Any:
    return f.default_factory() if f.default is dataclasses.MISSING else f.default


def build(cls: type, values: dict, where: str) -> Any:
    """An instance of the dataclass `cls` from a mapping, every key and type checked.

    Raises ConfigError naming the key: unknown (nearest valid name offered), missing or of another type.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where} must be a mapping, got {type(values).__name__} ({values!r})")
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise unknown("key", key, hints, where)
    for f in dataclasses.fields(cls):
        if _required(f) and f.name not in values:
            raise ConfigError(f"{where} lacks the key '{f.name}'")
    return cls(**{key: _typed(hints[key], value, f"{where}.{key}") for key, value in values.items()})


def _typed(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`; integers stand for floats and lists for tuples, all else stays as it is."""
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, where)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None and type(None) in args:
            return None
        return _typed(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        if args[-1] is Ellipsis:
            return tuple(_typed(args[0], v, where) for v in value)
        if len(value) == len(args):
            return tuple(_typed(a, v, where) for a, v in zip(args, value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    wanted = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    note = " (YAML reads 1e-3 as text: write 1.0e-3)" if hint is float and isinstance(value, str) else ""
    note = (
        " (YAML reads on, off, yes and no as truth values: put it in quotes)"
        if hint is str and value in (True, False)
        else note
    )
    raise ConfigError(f"{where} must be {wanted}, got {type(value).__name__} {value!r}{note}")
