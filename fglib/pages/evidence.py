"""Evidence of a claim: a rule over the run records of an experiment, or over a construction computed on the spot."""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from fglib import lab
from fglib.errors import ConfigError, RecordError, check_known, shortened
from fglib.lab.grid import COUNTED, Experiment, load_experiment
from fglib.lab.places import experiment_path
from fglib.lab.records import not_current
from fglib.pages.redrawn import redraw
from fglib.pages.rules import Clause, Measured, Values, parse_clause

MIN_SEEDS = 3
VERDICTS = (
    "reproduced",  # on the paper's own data and schedule
    "proved",  # computed exactly
    "holds in direction",  # on other data or at another scale
    "contradicted here",  # a clause is on the wrong side, clear of chance
    "undecided",
    "not informative",  # a gate fails: it could not have come out either way
    "not run",
)
REPRODUCED, PROVED, DIRECTION, CONTRADICTED, UNDECIDED, NOT_INFORMATIVE, NOT_RUN = VERDICTS


@dataclass(frozen=True)
class Evidence:
    """One way to test a claim, as book/claims.yml names it: either `experiment` or `compute`."""

    rule: tuple[str, ...]  # clauses of fglib.pages.rules, all of which must hold
    same: bool  # the paper's own data and schedule; otherwise it speaks for the direction only
    note: str = ""  # what differs from the paper
    gate: tuple[str, ...] = ()  # clauses that must hold before the rule can say anything
    paired: bool = True  # whether variants of one seed share what chance decides; otherwise Welch's interval counts
    proof: bool = False  # of a theorem; a construction is one anyway
    vacuous: str = ""  # a clause under which a proof says nothing, as of a bound below chance
    experiment: str | None = None
    preset: str | None = None  # None: the first of COUNTED that has enough seeds
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
    gates: tuple[Measured, ...] = ()
    proof: bool = False
    vacuous: Measured | None = None  # where its clause holds
    standing: str = ""  # how many of its records were not made by today's code
    damaged: tuple[str, ...] = ()  # errors of records that cannot be read and so do not count

    @property
    def informative(self) -> bool:
        """Whether every gate holds, so that the claim could have come out either way."""
        return all(m.holds for m in self.gates)

    @property
    def verdict(self) -> str:
        """What this evidence says of the claim, one of VERDICTS."""
        if not self.measured:
            return NOT_RUN
        if not self.informative:
            return NOT_INFORMATIVE
        if all(m.holds for m in self.measured):
            return PROVED if self.proof else REPRODUCED if self.same else DIRECTION
        return CONTRADICTED if any(m.contradicted for m in self.measured) else UNDECIDED

    @property
    def decisive(self) -> tuple[Measured, ...]:
        """The clauses that the verdict rests on."""
        if not self.informative:
            return tuple(m for m in self.gates if not m.holds)
        against = [m for m in self.measured if m.contradicted] or [m for m in self.measured if m.undecided]
        return tuple(against) or self.measured

    def __str__(self) -> str:
        return self.source + (f" (preset {self.preset}, {self.seeds} seeds)" if self.preset else "")


class Clauses(NamedTuple):
    """The clauses of a piece of evidence."""

    rule: tuple[Clause, ...]
    gate: tuple[Clause, ...]
    vacuous: tuple[Clause, ...]

    @property
    def all(self) -> tuple[Clause, ...]:
        """All of them."""
        return (*self.rule, *self.gate, *self.vacuous)

    def measure(self, values: Sequence[Values], paired: bool = True, redrawn: Sequence[Values] = ()) -> dict:
        """The fields of a Finding that hold their numbers."""
        rule, gate, vacuous = (tuple(c.measure(values, paired, redrawn) for c in part) for part in self)
        return {"measured": rule, "gates": gate, "vacuous": next((m for m in vacuous if m.holds), None)}


def examine(evidence: Evidence, where: str) -> Finding:
    """Measure a piece of evidence; `where` names the claim in errors.

    Raises ConfigError for a rule that cannot be read or that names a variant or metric that does not exist.
    """
    if bool(evidence.experiment) == bool(evidence.compute):
        raise ConfigError(f"{where}: evidence has exactly one of 'experiment' and 'compute'")
    if not evidence.rule or not (evidence.same or evidence.note):
        raise ConfigError(f"{where}: evidence has a rule, and a note on what differs unless it is the paper's setting")
    try:
        texts = (evidence.rule, evidence.gate, (evidence.vacuous,) if evidence.vacuous else ())
        clauses = Clauses(*(tuple(map(parse_clause, part)) for part in texts))
    except ConfigError as e:
        raise ConfigError(f"{where}: {e}") from e
    return (_computed if evidence.compute else _recorded)(evidence, clauses, where)


def _computed(evidence: Evidence, clauses: Clauses, where: str) -> Finding:
    function = _function("compute", evidence.compute, evidence.arguments, where)
    try:
        values = function()
    except (TypeError, ValueError, RuntimeError) as e:
        raise ConfigError(f"{where}: {evidence.compute} refuses its arguments: {e}") from e
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: {evidence.compute} must return named numbers, and returned {shortened(values)}")
    for clause in clauses.all:
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
        proof=True,
        **clauses.measure([values]),
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


def _recorded(evidence: Evidence, clauses: Clauses, where: str) -> Finding:
    """The finding in the given preset, else in the first of COUNTED that has enough seeds."""
    experiment = load_experiment(experiment_path(evidence.experiment))
    for clause in clauses.all:
        place = f"{where}, clause '{clause.text}'"
        for name in clause.names:
            if "." not in name:
                raise ConfigError(f"{place}: an experiment's numbers are named variant.metric, not '{name}'")
            check_known("variant", name.split(".")[0], experiment.variants, place)
    presets = [evidence.preset] if evidence.preset else [p for p in COUNTED if p in experiment.presets]
    if not presets:
        lacking = f"experiment {evidence.experiment} has none of the presets {', '.join(COUNTED)}"
        raise ConfigError(f"{where}: {lacking}; name the preset that counts")
    findings = [_in_preset(evidence, experiment, preset, clauses, where) for preset in presets]
    return next((f for f in findings if f.measured), max(findings, key=lambda f: f.seeds))


def _in_preset(evidence: Evidence, experiment: Experiment, preset: str, clauses: Clauses, where: str) -> Finding:
    chosen = experiment.preset(preset)
    seeds, flag = chosen.seeds, ""
    if len(seeds) < MIN_SEEDS:
        seeds = tuple(range(MIN_SEEDS))
        flag = f" --seeds {','.join(map(str, seeds))}"
    variants = sorted({name.split(".")[0] for clause in clauses.all for name in clause.names})
    derive = evidence.derive and _function("derive", evidence.derive, evidence.arguments, where, {})
    found, damaged = [], []
    for plan in lab.plans(experiment, preset, seeds, variants):
        try:
            found += [run] if (run := plan.find()) else []
        except RecordError as e:  # a damaged record counts as none
            damaged.append(str(e))
    by_seed, unread = _by_seed(found, clauses.all, derive, where)
    enough = len(by_seed) >= MIN_SEEDS
    redrawn = redraw(found, by_seed, {name for clause in clauses.all for name in clause.names}) if enough else {}
    return Finding(
        source=experiment.name,
        preset=preset,
        chapter=experiment.chapter or None,
        seeds=len(by_seed),
        same=evidence.same,
        note=evidence.note,
        command=f"fglib train {evidence.experiment} --preset {preset}{flag}",
        hardware=chosen.hardware,
        proof=evidence.proof,
        **(clauses.measure(list(by_seed.values()), evidence.paired, redrawn) if enough else {}),
        standing=not_current(found),
        damaged=(*damaged, *unread),
    )


def _by_seed(
    found: list[lab.Run], clauses: Sequence[Clause], derive: Callable | None, where: str
) -> tuple[dict[int, Values], list[str]]:
    """Numbers by `variant.metric` of each seed for which every named number is recorded and defined; and the errors of
    arrays that cannot be read."""
    by_seed: dict[int, dict[str, lab.Run]] = {}
    damaged = []
    for run in found:
        by_seed.setdefault(run.plan.seed, {})[run.plan.variant] = run
    named = {name for clause in clauses for name in clause.names}
    variants = {name.split(".")[0] for name in named}
    complete = {}
    for seed, of_seed in sorted(by_seed.items()):
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
            complete[seed] = values
    return complete, damaged
