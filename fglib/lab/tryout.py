"""Trying a method out: a class written in a notebook, trained beside the one that the book has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fglib.errors import ConfigError, FglibError, shortened
from fglib.lab import refresh
from fglib.lab.plan import Plan, plans
from fglib.lab.records import Run
from fglib.lab.results import Results, recorded
from fglib.lab.workers import train_plan


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
    from fglib.methods import Method, find_method

    if not (isinstance(method, type) and issubclass(method, Method)):
        raise ConfigError(f"{shortened(method)} is no subclass of fglib.methods.Method, which lab.try_out trains")
    wanted = plans(experiment, preset, seeds, [variant], overrides, tweak=True)
    how = {"device": device, "data_dir": data_dir}
    own = [_train(replace(plan, tried=find_method(plan.config.method.name)), **how) for plan in wanted]
    tried = [_train(replace(plan, tried=method), **how) for plan in wanted]
    return TriedOut(variant, method, tuple(tried), tuple(own), recorded(wanted[0].experiment, [variant]))


def _train(plan: Plan, **how) -> Run:
    refresh.discard(plan)  # of an earlier call, which may have been stopped
    refresh.end(plan)
    if not train_plan(plan, refresh=True, **how):
        raise FglibError(f"{plan.name} was stopped before its end; call lab.try_out again")
    return plan.load()
