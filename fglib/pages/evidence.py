"""Evidence of a claim: a rule over the run records of an experiment, or over a construction computed on the spot."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from fglib import lab
from fglib.errors import ConfigError, RecordError, check_known, shortened
from fglib.lab.grid import Experiment, load_experiment
from fglib.lab.places import experiment_path
from fglib.lab.records import not_current
from fglib.pages.rules import Clause, Measured, Values, parse_clause

MIN_SEEDS = 3


@dataclass(frozen=True)
class Evidence:
    """One way to test a claim, as book/claims.yml names it: either `experiment` or `compute`."""

    rule: tuple[str, ...]  # clauses of fglib.pages.rules, all of which must hold
    same: bool  # the paper's own data and schedule; otherwise it speaks for the direction only
    note: str = ""  # what differs from the paper
    experiment: str | None = None
    preset: str | None = None  # None: paper where it has enough seeds, else cpu
    derive: str | None = None  # module:function of the runs {variant: run} of a seed: further numbers, variant.metric
    compute: str | None = None  # module:function that returns a mapping of numbers
    arguments: dict = field(default_factory=dict)  # of the function of `derive` or `compute`


@dataclass(frozen=True)
class Finding:
    """What a piece of evidence shows; `measured` is empty while there are too few seeds."""

    source: str
    preset: str | None  # None for a construction, as are chapter and seeds
    chapter: str | None
    seeds: int | None
    same: bool
    note: str
    command: str
    hardware: str
    measured: tuple[Measured, ...] = ()
    standing: str = ""  # how many of its records were not made by today's code
    damaged: tuple[str, ...] = ()  # errors of records that cannot be read and so do not count

    @property
    def holds(self) -> bool:
        """Whether every clause of the rule holds."""
        return bool(self.measured) and all(m.holds for m in self.measured)

    def __str__(self) -> str:
        return self.source + (f" (preset {self.preset}, {self.seeds} seeds)" if self.preset else "")


def examine(evidence: Evidence, where: str) -> Finding:
    """Measure a piece of evidence; `where` names the claim in errors.

    Raises ConfigError for a rule that cannot be read or that names a variant or metric that does not exist.
    """
    if bool(evidence.experiment) == bool(evidence.compute):
        raise ConfigError(f"{where}: evidence has exactly one of 'experiment' and 'compute'")
    if not evidence.rule or not (evidence.same or evidence.note):
        raise ConfigError(f"{where}: evidence has a rule, and a note on what differs unless it is the paper's setting")
    try:
        clauses = [parse_clause(text) for text in evidence.rule]
    except ConfigError as e:
        raise ConfigError(f"{where}: {e}") from e
    return (_computed if evidence.compute else _recorded)(evidence, clauses, where)


def _computed(evidence: Evidence, clauses: list[Clause], where: str) -> Finding:
    function = _function("compute", evidence.compute, evidence.arguments, where)
    try:
        values = function()
    except (TypeError, ValueError, RuntimeError) as e:
        raise ConfigError(f"{where}: {evidence.compute} refuses its arguments: {e}") from e
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: {evidence.compute} must return named numbers, and returned {shortened(values)}")
    for clause in clauses:
        for name in clause.names:
            check_known("value", name, values, f"{where}, clause '{clause.text}'")
    return Finding(
        source=evidence.compute.replace(":", "."),
        preset=None,
        chapter=None,
        seeds=None,
        same=evidence.same,
        note=evidence.note,
        command="fglib claims",
        hardware="one CPU core, milliseconds",
        measured=tuple(clause.measure([values]) for clause in clauses),
    )


def _function(key: str, named: str, arguments: dict, where: str, *first: object) -> Callable:
    """The function that `key: module:function` names with its arguments; it is called with those of `first` before.

    ConfigError where there is none or it does not take these arguments.
    """
    module, _, name = named.partition(":")
    if not module.startswith("fglib."):
        raise ConfigError(f"{where}: {key} is fglib.<module>:<function>, got {shortened(named)}")
    try:
        function = getattr(importlib.import_module(module), name)
        inspect.signature(function).bind(*first, **arguments)
    except (ImportError, AttributeError) as e:
        raise ConfigError(f"{where}: there is no {named} ({e})") from e
    except TypeError as e:
        raise ConfigError(f"{where}: {named} does not take the arguments {shortened(arguments)} ({e})") from e
    return partial(function, **arguments)


def _recorded(evidence: Evidence, clauses: list[Clause], where: str) -> Finding:
    """The finding in the given preset, else in the better one of paper and cpu that has enough seeds."""
    experiment = load_experiment(experiment_path(evidence.experiment))
    for clause in clauses:
        place = f"{where}, clause '{clause.text}'"
        for name in clause.names:
            if "." not in name:
                raise ConfigError(f"{place}: an experiment's numbers are named variant.metric, not '{name}'")
            check_known("variant", name.split(".")[0], experiment.variants, place)
    presets = [evidence.preset] if evidence.preset else [p for p in ("paper", "cpu") if p in experiment.presets]
    if not presets:
        lacking = f"experiment {evidence.experiment} has neither preset 'paper' nor 'cpu'"
        raise ConfigError(f"{where}: {lacking}; name the preset that counts")
    findings = [_in_preset(evidence, experiment, preset, clauses, where) for preset in presets]
    return next((f for f in findings if f.measured), max(findings, key=lambda f: f.seeds))


def _in_preset(evidence: Evidence, experiment: Experiment, preset: str, clauses: list[Clause], where: str) -> Finding:
    chosen = experiment.preset(preset)
    seeds, flag = chosen.seeds, ""
    if len(seeds) < MIN_SEEDS:
        seeds = tuple(range(MIN_SEEDS))
        flag = f" --seeds {','.join(map(str, seeds))}"
    variants = sorted({name.split(".")[0] for clause in clauses for name in clause.names})
    derive = evidence.derive and _function("derive", evidence.derive, evidence.arguments, where, {})
    found, damaged = [], []
    for plan in lab.plans(experiment, preset, seeds, variants):
        try:
            found += [run] if (run := plan.find()) else []
        except RecordError as e:  # a damaged record counts as none
            damaged.append(str(e))
    by_seed, unread = _by_seed(found, clauses, derive, where)
    return Finding(
        source=experiment.name,
        preset=preset,
        chapter=experiment.chapter or None,
        seeds=len(by_seed),
        same=evidence.same,
        note=evidence.note,
        command=f"fglib train {evidence.experiment} --preset {preset}{flag}",
        hardware=chosen.hardware,
        measured=tuple(clause.measure(by_seed) for clause in clauses) if len(by_seed) >= MIN_SEEDS else (),
        standing=not_current(found),
        damaged=(*damaged, *unread),
    )


def _by_seed(
    found: list[lab.Run], clauses: list[Clause], derive: Callable | None, where: str
) -> tuple[list[Values], list[str]]:
    """Numbers by `variant.metric`, one mapping per seed for which every named number is recorded and defined; and the
    errors of arrays that cannot be read."""
    by_seed: dict[int, dict[str, lab.Run]] = {}
    damaged = []
    for run in found:
        by_seed.setdefault(run.plan.seed, {})[run.plan.variant] = run
    named = {name for clause in clauses for name in clause.names}
    variants = {name.split(".")[0] for name in named}
    complete = []
    for _, of_seed in sorted(by_seed.items()):
        if derive and not variants <= of_seed.keys():  # what is derived may need the runs that are missing
            continue
        values = {f"{variant}.{k}": v for variant, run in of_seed.items() for k, v in run.metrics.items()}
        try:
            values |= derive(of_seed) if derive else {}
        except RecordError as e:  # of the arrays, which are read only here
            damaged.append(str(e))
            continue
        for clause in clauses:
            for variant, metric in (name.split(".") for name in clause.names):
                if variant in of_seed:
                    known = [name.split(".")[1] for name in values if name.split(".")[0] == variant]
                    check_known(f"metric of {variant}", metric, known, f"{where}, clause '{clause.text}'")
        # a metric that is not defined on this data is null
        values = {name: value for name, value in values.items() if value is not None}
        if named <= values.keys():
            complete.append(values)
    return complete, damaged
