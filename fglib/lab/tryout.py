"""Trying a method out: a class written in a notebook, trained beside the one that the book has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fglib.errors import ConfigError, shortened
from fglib.lab.plan import Plan, plans
from fglib.lab.records import Run, write_record
from fglib.lab.results import Results, fitting, recorded


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

    Both are trained anew at every call, and so are the runs that they start from, so that a change anywhere shows: in
    the class, in a function it calls, in another cell. Records and checkpoints of the book are never touched; what is
    made lies in _build/tweaks, by configuration and source. `overrides` change the configuration of both, as in
    `train={"epochs": 2}`; an option of the method changes whichever takes it. The class sees what the variant may see:
    fine labels stay hidden unless the experiment shows them.

    Example: lab.try_out(MyGrafit, "grafit_omniglot", variant="grafit", method={"options": {"temperature": 0.1}})

    Raises ConfigError for a class that is no method and for an unknown variant, preset or setting. An error of the
    class itself is raised as it is.
    """
    from fglib.lab.run import train_one
    from fglib.methods import Method, find_method

    if not (isinstance(method, type) and issubclass(method, Method)):
        raise ConfigError(f"{shortened(method)} is no subclass of fglib.methods.Method, which lab.try_out trains")
    as_it_is = plans(experiment, preset, seeds, [variant], tweak=True)[0]
    classes = (find_method(as_it_is.config.method.name), method)
    changes = fitting(overrides, classes, method.__name__)
    wanted = [plans(experiment, preset, seeds, [variant], change, tweak=True) for change in changes]

    def train(plan: Plan, cls: type) -> Run:
        label = "" if preset == "smoke" else f"{cls.__name__} seed {plan.seed}"  # smoke takes moments
        plan = _anew(plan, cls)
        write_record(plan, *train_one(plan, device=device, data_dir=data_dir, label=label))
        return plan.load()

    own, tried = (tuple(train(plan, cls) for plan in some) for some, cls in zip(wanted, classes))
    return TriedOut(variant, method, tried, own, recorded(as_it_is.experiment, [variant]))


def _anew(plan: Plan, method: type | None = None) -> Plan:
    """The plan as one that neither reads nor leaves weights, nor does any run that it starts from."""
    from fglib.methods import find_method

    method = method or find_method(plan.config.method.name)
    return replace(plan, tried=method, start=plan.start and _anew(plan.start))
