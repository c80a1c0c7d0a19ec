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

from fglib.config import RunConfig
from fglib.errors import ConfigError, unknown
from fglib.methods.coarse2fine import BAP, WSDAN, Coarse2Fine, Upsampling
from fglib.methods.grafit import SNCA, Baseline, CEInst, ClusterFitPlus, Grafit, GrafitFC, Inst, SNCAPlus
from fglib.methods.patterns import Base, BaseIndi, BaseIndiEff, Fine, Indi
from fglib.methods.protocol import Batch, Method, Task
from fglib.methods.subtle import DB, DBGCE, DBLGM, DBPC, GCE, DBCenter, DBMaxEnt, DBSmoothing, Plain
from fglib.methods.transfer import Transfer
from fglib.models import build_trunk

METHODS: dict[str, type[Method]] = {
    "base": Base,
    "fine": Fine,
    "indi": Indi,
    "base_indi": BaseIndi,
    "base_indi_eff": BaseIndiEff,
    "baseline": Baseline,
    "clusterfit_plus": ClusterFitPlus,
    "snca": SNCA,
    "snca_plus": SNCAPlus,
    "grafit_fc": GrafitFC,
    "grafit": Grafit,
    "inst": Inst,
    "ce_inst": CEInst,
    "transfer": Transfer,
    "plain": Plain,
    "bap": BAP,
    "ws_dan": WSDAN,
    "coarse2fine": Coarse2Fine,
    "upsampler": Upsampling,
    "db": DB,
    "gce": GCE,
    "db_gce": DBGCE,
    "db_center": DBCenter,
    "db_lgm": DBLGM,
    "db_maxent": DBMaxEnt,
    "db_pc": DBPC,
    "db_smoothing": DBSmoothing,
}


def find_method(name: str) -> type[Method]:
    """The class of a named method; ConfigError with the nearest name if there is none."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


def build_method(config: RunConfig, task: Task) -> Method:
    """The method a configuration names, on a fresh trunk; call `torch.manual_seed` before for a fixed start."""
    method = find_method(config.method.name)
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
        raise ConfigError(f"method.options of '{config.method.name}': {e}") from e


__all__ = ["METHODS", "Batch", "Method", "Task", "build_method", "find_method"]
