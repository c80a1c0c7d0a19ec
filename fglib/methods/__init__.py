"""Methods: a trunk, its heads and its loss, wired as a paper draws them.

Every method is an `nn.Module` with three members, so that one loop trains all of them:

    loss(batch) -> dict of named scalar tensors; "total" is what is minimized
    embed(images (B, 3, H, W) in [0, 1]) -> (B, d) features used for retrieval
    after_step(batch) -> None; memory banks, moving averages and centers are written here and nowhere else

Around the loop, `before_training` and `after_training` are for what takes a pass over all training images: filling a
memory, finding clusters. A method that classifies has `logits(images) -> (B, C)`, one that localizes objects
`location_maps(images) -> (B, H, W)`, one with a map per class `class_maps(images) -> (B, C, h, w)`.

A trunk is any module that maps images to features (B, dim), with an attribute `dim`, and for some methods a `maps` for
the feature map before pooling. It may compute in any float type: methods cast its features to the type of their heads.
"""

import inspect
from importlib import import_module

from fglib.config import RunConfig
from fglib.errors import ConfigError, check_known
from fglib.methods.protocol import Batch, Method, Task
from fglib.models import build_trunk


def _classes(table: dict[str, str]) -> dict[str, type[Method]]:
    places = {name: place.split(".") for name, place in table.items()}
    return {name: getattr(import_module(f"fglib.methods.{file}"), cls) for name, (file, cls) in places.items()}


# The name of a method, its file in this folder and its class there.
METHODS = _classes(
    {
        "base": "patterns.Base",
        "fine": "patterns.Fine",
        "indi": "patterns.Indi",
        "base_indi": "patterns.BaseIndi",
        "base_indi_eff": "patterns.BaseIndiEff",
        "baseline": "grafit.Baseline",
        "clusterfit_plus": "grafit.ClusterFitPlus",
        "snca": "grafit.SNCA",
        "snca_plus": "grafit.SNCAPlus",
        "grafit_fc": "grafit.GrafitFC",
        "grafit": "grafit.Grafit",
        "inst": "grafit.Inst",
        "ce_inst": "grafit.CEInst",
        "transfer": "transfer.Transfer",
        "plain": "subtle.Plain",
        "bap": "coarse2fine.BAP",
        "ws_dan": "coarse2fine.WSDAN",
        "coarse2fine": "coarse2fine.Coarse2Fine",
        "upsampler": "coarse2fine.Upsampling",
        "db": "subtle.DB",
        "gce": "subtle.GCE",
        "db_gce": "subtle.DBGCE",
        "db_center": "subtle.DBCenter",
        "db_lgm": "subtle.DBLGM",
        "db_maxent": "subtle.DBMaxEnt",
        "db_pc": "subtle.DBPC",
        "db_smoothing": "subtle.DBSmoothing",
    }
)


def find_method(name: str) -> type[Method]:
    """The class of a named method; ConfigError with the nearest name if there is none."""
    check_known("method", name, METHODS)
    return METHODS[name]


def options_of(method: type[Method]) -> set[str]:
    """The names of a method's options, those that it hands on to its base included."""
    found: set[str] = set()
    for cls in method.__mro__:
        parameters = inspect.signature(cls.__init__).parameters.values() if "__init__" in vars(cls) else ()
        found |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found - {"self", "trunk", "task"}


def build_method(config: RunConfig, task: Task, method: type[Method] | None = None) -> Method:
    """The method a configuration names, on a fresh trunk; call `torch.manual_seed` before for a fixed start.

    method: a class that takes the place of the one that is named.
    """
    named = find_method(config.method.name)
    method = method or named
    if method.needs_fine and not config.use_fine:
        raise ConfigError(
            f"method '{config.method.name}' trains on the fine labels ('{config.data.fine}'), which the "
            "configuration hides; set `use_fine: true` if that is what you want"
        )
    trunk = build_trunk(config.model) if method.builds_trunk else None
    try:
        return method(trunk, task, **config.method.options)
    except ConfigError:
        raise
    except (TypeError, ValueError) as e:
        if method is not named:  # a class of the reader's, whose errors are its own
            raise
        raise ConfigError(f"method.options of '{config.method.name}': {e}") from e


__all__ = ["METHODS", "Batch", "Method", "Task", "build_method", "find_method", "options_of"]
