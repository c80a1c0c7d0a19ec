"""What of a trunk is trained: stages that keep their weights, batch normalization that keeps its statistics."""

from collections.abc import Iterable
from functools import cache

from torch import nn

from fglib.errors import ConfigError, check_known


def freeze(trunk: nn.Module, up_to: str | None = None, norms: bool = False) -> None:
    """Leave stages of a trunk as they are: the one named `up_to` and all before it, with their batch normalization.

    norms: also the batch normalization of the stages that are trained uses its running mean and variance and leaves
        them alone, as in evaluation; its scale and shift are trained. Coarse fine-tuning is blamed for much that only
        moving statistics do.
    Raises ConfigError for a stage that the trunk does not have.
    """
    if up_to is not None:
        names = list(stages(trunk))
        check_known("stage", up_to, names, "train.freeze")
        for name in names[: names.index(up_to) + 1]:
            stage = stages(trunk)[name]
            stage.requires_grad_(False)
            _freeze_norms(stage.modules())
    if norms:
        _freeze_norms(trunk.modules())


def stages(trunk: nn.Module) -> dict[str, nn.Module]:
    """The parts of a trunk by name, from the images to the last feature map."""
    body = getattr(trunk, "body", None)
    if body is None:
        raise ConfigError("train.freeze and train.freeze_bn are for trunks with stages, and this one has none")
    body = getattr(body, "network", body)
    return dict(body.named_children())


def _freeze_norms(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, _Frozen):
            module.__class__ = _frozen(type(module))  # keeps its weights and its names
            module.eval()


class _Frozen:
    """Batch normalization that is never in training mode."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)


@cache
def _frozen(kind: type) -> type:
    return type(f"Frozen{kind.__name__}", (_Frozen, kind), {})
