"""Results: the recorded runs of an experiment, loaded where they are recorded and trained where they are missing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fglib.errors import ConfigError, unknown
from fglib.lab.grid import COUNTED, Experiment, find_experiment
from fglib.lab.plan import Plan, plans
from fglib.lab.records import Run
from fglib.lab.workers import train_plans


@dataclass(frozen=True)
class Results:
    """The recorded runs of an experiment in one preset; empty when there are none."""

    experiment: Experiment
    preset: str | None
    runs: tuple[Run, ...]
    missing: tuple[Plan, ...]

    def __bool__(self) -> bool:
        return bool(self.runs)

    @property
    def variants(self) -> list[str]:
        """Variants that have a record, in the experiment's order."""
        have = {run.plan.variant for run in self.runs}
        return [v for v in self.experiment.variants if v in have]

    def of(self, variant: str) -> list[Run]:
        """Runs of a variant, by seed."""
        return [run for run in self.runs if run.plan.variant == variant]

    def values(self, variant: str, metric: str) -> np.ndarray:
        """A metric of a variant over its seeds (seeds,); empty where the method does not have it."""
        return values(self.of(variant), metric)

    def differences(self, one: str, other: str, metric: str, other_metric: str | None = None) -> np.ndarray:
        """Differences (seeds,) of a metric between two variants, or two metrics, paired by the seeds that have both."""
        first = {run.plan.seed: run.metrics.get(metric) for run in self.of(one)}
        second = {run.plan.seed: run.metrics.get(other_metric or metric) for run in self.of(other)}
        shared = [s for s in sorted(first.keys() & second.keys()) if None not in (first[s], second[s])]
        return np.array([first[seed] - second[seed] for seed in shared])

    @property
    def command(self) -> str:
        """The command that trains what is missing (the paper's preset where nothing is recorded)."""
        preset = self.preset or next((p for p in COUNTED if p in self.experiment.presets), "cpu")
        return f"fglib train {self.experiment.name} --preset {preset}"


def values(runs: Sequence[Run], metric: str) -> np.ndarray:
    """A metric of some runs; those that do not have it are left out."""
    found = [run.metrics.get(metric) for run in runs]
    return np.array([v for v in found if v is not None])


def recorded(experiment: str | Experiment, variants: Sequence[str] | None = None) -> Results:
    """Records of the best preset of COUNTED that has any, complete ones (a run of every variant) before partial."""
    experiment = find_experiment(experiment)
    found = [
        _collect(experiment, preset, plans(experiment, preset, variants=variants))
        for preset in COUNTED
        if preset in experiment.presets
    ]
    wanted = len(variants or experiment.variants)
    best = max(found, key=lambda r: (len(r.variants) == wanted, bool(r)), default=None)  # the first of equals
    return best or Results(experiment, None, (), found[0].missing if found else ())


def ensure(
    experiment: str,
    preset: str = "recorded",
    *,
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] | None = None,
    device: str = "auto",
    data_dir: str | None = None,
    refresh: bool = False,
    overrides: dict | None = None,
) -> Results:
    """Results of an experiment: loaded where recorded, trained where missing.

    Preset "recorded" only loads, and takes the best preset there is; any other trains what it lacks. `refresh`
    trains again. `overrides` changes configuration keys, as in {"train": {"epochs": 5}}; an option of a method changes
    those that take it. What either gives of an experiment of the book is kept in _build/tweaks: the book's own records
    stay as they are. Raises RecordError for a record whose images or labels have changed since.
    """
    if preset == "recorded":
        if refresh or overrides:
            raise ConfigError("preset 'recorded' trains nothing: choose smoke, cpu or paper to refresh or override")
        return recorded(experiment, variants)
    from fglib.lab.verify import refuse_other_data

    wanted = _plans(experiment, preset, seeds, variants, overrides or {}, refresh)
    if not refresh:
        refuse_other_data([run for run in map(Plan.find, wanted) if run is not None], data_dir)
    for _ in train_plans(wanted, device=device, data_dir=data_dir, refresh=refresh):
        pass
    return _collect(wanted[0].experiment, preset, wanted)


def _plans(
    experiment: str,
    preset: str,
    seeds: Sequence[int] | None,
    variants: Sequence[str] | None,
    overrides: dict,
    tweak: bool,
) -> list[Plan]:
    """`plans` in which options of methods are overridden where the method takes them; ConfigError where none does."""
    if not overrides:
        return plans(experiment, preset, seeds, variants, tweak=tweak)
    from fglib.methods import find_method

    as_it_is = plans(experiment, preset, seeds, variants, tweak=tweak)
    methods = [find_method(plan.config.method.name) for plan in as_it_is]
    changes = fitting(overrides, methods, f"the methods of {as_it_is[0].experiment.name}")
    return [
        changed
        for plan, change in zip(as_it_is, changes)
        for changed in plans(plan.experiment, preset, [plan.seed], [plan.variant], change, tweak)
    ]


def fitting(overrides: dict, methods: Sequence[type], where: str) -> list[dict]:
    """Overrides for each of some methods, with the options that it takes; ConfigError for one that none takes."""
    from fglib.methods import options_of

    section = overrides.get("method")
    options = section.get("options") if isinstance(section, dict) else None
    if not options or not isinstance(options, dict):  # the configuration says what is wrong with it
        return [overrides] * len(methods)
    taken = [options_of(method) for method in methods]
    known = set().union(*taken)
    for option in options.keys() - known:
        raise unknown("option", option, known, where)
    rest = {name: value for name, value in overrides.items() if name != "method"}
    kept = [{name: value for name, value in options.items() if name in names} for names in taken]
    return [rest | ({"method": section | {"options": some}} if some else {}) for some in kept]


def _collect(experiment: Experiment, preset: str, wanted: Sequence[Plan]) -> Results:
    found = [(plan, plan.find()) for plan in wanted]
    have = tuple(run for _, run in found if run is not None)
    return Results(experiment, preset, have, tuple(plan for plan, run in found if run is None))
