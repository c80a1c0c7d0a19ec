"""Trying a method out: a class written in a notebook, trained beside the one that the book has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fglib.errors import ConfigError, shortened
from fglib.lab.plan import plans
from fglib.lab.records import Run, write_record
from fglib.lab.results import Results, recorded


@dataclass(frozen=True)
class TriedOut:
    """What a class gave, what the book's own class gives under the same conditions, and what is recorded of it."""

    variant: str
    method: type
    tried: tuple[Run, ...]
    own: tuple[Run, ...]
    recorded: Results


def try_out(
    method: type,
    /,
    experiment: str,
    *,
    variant: str,
    preset: str = "smoke",
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    data_dir: str | None = None,
    **overrides: dict,
) -> TriedOut:
    """Train a class in place of a variant's method, beside the variant's own, and show both with what is recorded.

    Both are trained anew at every call, so that a change anywhere shows: in the class, in a function it calls, in
    another cell. Records of the book are never touched; what is made lies in _build/tweaks, by configuration and
    source. `overrides` change the configuration of both, as in `train={"epochs": 2}`. The class sees what the variant
    may see: fine labels stay hidden unless the experiment shows them.

    Example: lab.try_out(MyGrafit, "grafit_omniglot", variant="grafit", method={"options": {"temperature": 0.1}})

    Raises ConfigError for a class that is no method and for an unknown variant, preset or setting. An error of the
    class itself is raised as it is.
    """
    from fglib.lab.run import train_one
    from fglib.methods import Method, find_method

    if not (isinstance(method, type) and issubclass(method, Method)):
        raise ConfigError(f"{shortened(method)} is no subclass of fglib.methods.Method, which lab.try_out trains")
    wanted = plans(experiment, preset, seeds, [variant], overrides, tweak=True)

    def train(cls: type) -> tuple[Run, ...]:
        plans = [replace(plan, tried=cls) for plan in wanted]
        for plan in plans:
            label = "" if preset == "smoke" else f"{cls.__name__} seed {plan.seed}"  # smoke takes moments
            write_record(plan, *train_one(plan, device=device, data_dir=data_dir, label=label))
        return tuple(plan.load() for plan in plans)

    own, tried = train(find_method(wanted[0].config.method.name)), train(method)
    return TriedOut(variant, method, tried, own, recorded(wanted[0].experiment, [variant]))
