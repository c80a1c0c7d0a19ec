"""Choice of hyper-parameters without looking: by a validation part of the training images, with the labels that a
method may see, and with the same number of trials for every method.

An experiment says under `tune` what is tried:

    tune:
      preset: cpu
      seed: 0
      validation: 0.1                    # part of the training images that is held out, by class
      set: {train: {epochs: 20}}         # what differs from the preset in every trial
      trials:
        base: {train.weight_decay: [5.0e-4, 2.0e-3]}

All combinations of a variant's values are its trials. Methods that train on coarse labels are scored by coarse labels.
"""

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from fglib.config import build
from fglib.documents import read_json
from fglib.errors import ConfigError, check_known
from fglib.lab.grid import Experiment, merge
from fglib.lab.places import results_dir
from fglib.lab.plan import Plan, nested, plans
from fglib.lab.records import Run, write_json

# The first that was measured decides; fine labels are measured only for what trains on them.
SCORES = ("fine_r1", "coarse_top1", "coarse_r1")


@dataclass(frozen=True)
class Tune:
    """What an experiment says under `tune`."""

    preset: str
    seed: int
    validation: float
    trials: dict
    set: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One combination of values, as {"train.weight_decay": 0.002}, and the run that tries it."""

    variant: str
    values: dict[str, object]
    plan: Plan


def trials(experiment: Experiment, variants: list[str] | None = None) -> list[Trial]:
    """All trials of an experiment, variant by variant.

    Raises ConfigError where the experiment says nothing under `tune`, and where methods have unlike numbers of trials.
    """
    where = f"experiment {experiment.name}"
    if not experiment.tune:
        raise ConfigError(f"{where} has no section 'tune' that says what to try; `fglib tune --help` shows one")
    tune = build(Tune, experiment.tune, f"{where}, tune")
    for names, known in ((tune.trials, experiment.variants), (variants or (), tune.trials)):
        for name in names:
            check_known("variant", name, known, f"{where}, tune.trials")
    found = {
        name: [dict(zip(grid, values)) for values in product(*grid.values())] for name, grid in tune.trials.items()
    }
    if len({len(combinations) for combinations in found.values()}) > 1:
        counts = ", ".join(f"{name} {len(combinations)}" for name, combinations in found.items())
        raise ConfigError(f"{where}, tune.trials: every variant gets the same number of trials, not {counts}")
    return [
        Trial(name, values, _plan(experiment, tune, name, values))
        for name in variants or found
        for values in found[name]
    ]


def score(run: Run) -> tuple[str, float]:
    """The measure that a trial is chosen by and its value."""
    name = next(name for name in SCORES if run.metrics.get(name) is not None)
    return name, run.metrics[name]


def write_choice(experiment: Experiment, done: list[Trial]) -> dict:
    """Record what was tried of the variants whose trials are all recorded, and what was best, in `tune.json`.

    Of equal scores the first is chosen. Returns the chosen values by variant.
    """
    path = choices_path(experiment)
    chosen = read_json(path, "record of choices") if path.is_file() else {}
    for name in dict.fromkeys(trial.variant for trial in done):
        rows = []
        for trial in (t for t in done if t.variant == name):
            run = trial.plan.load()
            by, value = score(run)
            rows.append({"values": trial.values, by: value, "key": trial.plan.config.key()})
        best = max(rows, key=lambda row: row[by])
        about = {k: experiment.tune[k] for k in ("preset", "seed", "validation", "set") if k in experiment.tune}
        chosen[name] = {**about, "by": by, "trials": rows, "chosen": best["values"], "provenance": run.provenance}
    if chosen:
        write_json(path, chosen)
    return {name: entry["chosen"] for name, entry in chosen.items()}


def _plan(experiment: Experiment, tune: Tune, variant: str, values: dict[str, object]) -> Plan:
    fine = experiment.resolve(variant, tune.preset, tune.seed).use_fine
    measures = ["retrieval"] if fine else ["accuracy", "coarse_retrieval"]
    overrides = merge(tune.set, {"data": {"validation": tune.validation}, "measure": measures})
    return plans(experiment, tune.preset, [tune.seed], [variant], merge(overrides, nested(values)))[0]


def choices_path(experiment: Experiment) -> Path:
    """Where the choices of an experiment are recorded."""
    return results_dir(experiment.file) / experiment.name / "tune.json"
