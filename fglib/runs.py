"""Run records: find what is recorded, load it, train what is missing.

A run is one training with one seed. Its folder `<results>/<experiment>/<variant>.<preset>.s<seed>.<key>/` holds
`run.json` (configuration, metrics, history, provenance) and `arrays.npz` (what figures need, under 1 MB).
Weights stay in the checkpoint folder and are never committed.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fglib.config import RunConfig
from fglib.errors import ConfigError, FglibError, RecordError
from fglib.experiments import Experiment, check_distinct, load_experiment
from fglib.fingerprints import code_fingerprint
from fglib.paths import checkpoints_dir, experiment_path, results_dir
from fglib.records import Run, read_record, write_record


class BusyError(FglibError):
    """A run that another process is training."""


@dataclass(frozen=True)
class Plan:
    """One run that an experiment names, recorded or not."""

    experiment: Experiment
    variant: str
    preset: str
    seed: int
    config: RunConfig
    tweak: bool = False  # what a reader changed or repeats: it lies apart from the book's records

    @property
    def name(self) -> str:
        """Folder name of the run."""
        return f"{self.variant}.{self.preset}.s{self.seed}.{self.config.key()}"

    @property
    def folder(self) -> Path:
        """Where the record is or would be."""
        return results_dir(self.experiment.file, self.tweak) / self.experiment.name / self.name

    @property
    def checkpoint(self) -> Path:
        """Where the weights are or would be."""
        place = checkpoints_dir(self.experiment.file, self.tweak)
        return place / self.experiment.name / f"{self.name}.safetensors"

    @property
    def code(self) -> str:
        """Fingerprint of the code that trains this run and those that it starts from."""
        configs = [plan.config for plan in (self, *self.starts)]
        return code_fingerprint(*((config.method.name, config.model.backbone) for config in configs))

    @property
    def trained(self) -> bool:
        """Whether the checkpoint is there and is that of the last epoch."""
        from fglib.checkpoint import finished_epochs

        return finished_epochs(self.checkpoint) == self.config.train.epochs

    @property
    def starts(self) -> list["Plan"]:
        """The run that this one starts from, the one that that starts from, and so on."""
        if self.config.start is None:
            return []
        first = start_of(self.config)
        return [first, *first.starts]

    @property
    def writes(self) -> list[Path]:
        """Checkpoints that training this run writes: its own, and of the runs it starts from those not yet trained."""
        return [self.checkpoint, *(first.checkpoint for first in self.starts if not first.trained)]

    @property
    def recorded(self) -> bool:
        """Whether there is a record of this training with all the measures the experiment asks for."""
        if not (self.folder / "run.json").is_file():
            return False
        return set(self.config.measure) <= set(self.load().measured)

    def load(self) -> Run:
        """The record; RecordError when it is not readable."""
        return read_record(self)


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
        found = [r.metrics.get(metric) for r in self.of(variant)]
        return np.array([v for v in found if v is not None])

    def differences(self, one: str, other: str, metric: str, other_metric: str | None = None) -> np.ndarray:
        """Differences (seeds,) of a metric between two variants, or two metrics, paired by the seeds that have both."""
        first = {run.plan.seed: run.metrics.get(metric) for run in self.of(one)}
        second = {run.plan.seed: run.metrics.get(other_metric or metric) for run in self.of(other)}
        shared = [s for s in sorted(first.keys() & second.keys()) if None not in (first[s], second[s])]
        return np.array([first[seed] - second[seed] for seed in shared])

    @property
    def command(self) -> str:
        """The command that trains what is missing (the paper's preset where nothing is recorded)."""
        preset = self.preset or ("paper" if "paper" in self.experiment.presets else "cpu")
        return f"fglib train {self.experiment.name} --preset {preset}"


def plans(
    experiment: str | Experiment,
    preset: str,
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] | None = None,
    overrides: dict | None = None,
    tweak: bool = False,
) -> list[Plan]:
    """The runs that an experiment names in a preset; seed by seed, so that a first answer comes early.

    tweak: keep what is recorded of them apart from the book's records, as is done with `overrides` in any case.
    """
    if isinstance(experiment, str):
        experiment = load_experiment(experiment_path(experiment))
    seeds = experiment.preset(preset).seeds if seeds is None else seeds
    check_distinct(seeds, "seed")
    tweaked = tweak or bool(overrides)
    return [
        Plan(experiment, v, preset, s, _settle_start(experiment.resolve(v, preset, s, overrides), preset), tweaked)
        for s in seeds
        for v in experiment.chosen(variants)
    ]


def start_of(config: RunConfig) -> Plan:
    """The plan of the run that a configuration starts from."""
    start = config.start
    return plans(start.experiment, start.preset, [config.seed], [start.variant])[0]


def _settle_start(config: RunConfig, preset: str) -> RunConfig:
    """The configuration with the key of the run it starts from: other weights there are another run here."""
    if config.start is None:
        return config
    config = replace(config, start=replace(config.start, preset=preset))
    try:
        return replace(config, start=replace(config.start, key=start_of(config).config.key()))
    except RecursionError:
        raise ConfigError(
            f"`start` leads from {config.start.experiment} ({config.start.variant}) back to itself; name another run"
        ) from None


def recorded(experiment: str | Experiment, variants: Sequence[str] | None = None) -> Results:
    """Records of the best preset there is: paper before cpu, complete (a run of every variant) before partial.

    Smoke records never count: they only prove that the code runs.
    """
    if isinstance(experiment, str):
        experiment = load_experiment(experiment_path(experiment))
    found = [
        _collect(experiment, preset, plans(experiment, preset, variants=variants))
        for preset in ("paper", "cpu")
        if preset in experiment.presets
    ]
    wanted = len(variants or experiment.variants)
    complete = [r for r in found if len(r.variants) == wanted]
    partial = [r for r in found if r]
    return (complete or partial or [Results(experiment, None, (), found[0].missing if found else ())])[0]


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
    trains again. `overrides` changes configuration keys, as in {"train": {"epochs": 5}}. What either gives of an
    experiment of the book is kept in _build/tweaks: the book's own records stay as they are. Raises RecordError for
    a record whose images or labels have changed since.
    """
    if preset == "recorded":
        if refresh or overrides:
            raise ConfigError("preset 'recorded' trains nothing: choose smoke, cpu or paper to refresh or override")
        return recorded(experiment, variants)
    from fglib.standing import refuse_other_data

    wanted = plans(experiment, preset, seeds, variants, overrides, tweak=refresh)
    if not refresh:
        refuse_other_data([plan.load() for plan in wanted if plan.recorded], data_dir)
    for _ in train_plans(wanted, device=device, data_dir=data_dir, refresh=refresh):
        pass
    return _collect(wanted[0].experiment, preset, wanted)


def train_plans(
    wanted: Sequence[Plan],
    *,
    device: str = "auto",
    data_dir: str | None = None,
    refresh: bool = False,
    deadline: float | None = None,
) -> Iterator[tuple[Plan, bool]]:
    """Train every plan without a record (all of them with `refresh`); yields (plan, finished) as each ends.

    A refresh that was stopped goes on with the runs that it had left, and with those alone.
    `deadline` is a time of `time.monotonic()`; the run under way is then checkpointed and yielded unfinished.
    """
    from fglib.parallel import train_all

    where = {"device": device, "data_dir": data_dir}
    for plan, outcome in train_all(wanted, refresh=refresh, deadline=deadline, **where):
        if isinstance(outcome, FglibError):
            raise outcome
        yield plan, outcome


def train_plan(
    plan: Plan,
    *,
    device: str = "auto",
    data_dir: str | None = None,
    refresh: bool = False,
    deadline: float | None = None,
    label: str = "",
) -> bool:
    """Train (or go on with) one run and record it; False if time ran out, with a checkpoint to go on from.

    `refresh` trains again what is recorded, and goes on with a refresh that was stopped.

    Raises BusyError when another process trains this run or the one that it starts from.
    """
    # torch is imported only here: listing, loading and help stay quick
    from fglib import refresh as again
    from fglib.lock import alone
    from fglib.session import train_one

    how = {"device": device, "data_dir": data_dir, "deadline": deadline, "label": label}

    with ExitStack() as locks:
        for checkpoint in plan.writes:
            if not locks.enter_context(alone(checkpoint)):
                raise BusyError(f"another process trains {checkpoint.parent.name}/{checkpoint.stem}; left to that one")
        if refresh:
            again.begin(plan)
        elif plan.recorded:  # by another process, since it was asked last
            return True
        try:
            outcome = train_one(plan, **how)
        except RecordError:
            if not refresh:
                raise
            again.discard(plan)  # damaged, or of other code: a refresh does not go on with that
            outcome = train_one(plan, **how)
        if outcome is not None:
            write_record(plan, *outcome)
            again.end(plan)
    return outcome is not None


def _collect(experiment: Experiment, preset: str, wanted: Sequence[Plan]) -> Results:
    have = tuple(p.load() for p in wanted if p.recorded)
    return Results(experiment, preset, have, tuple(p for p in wanted if not p.recorded))
