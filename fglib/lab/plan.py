"""Plans: the runs that an experiment names, where each one's record and weights lie, and what it starts from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fglib.config import RunConfig
from fglib.errors import ConfigError
from fglib.lab.code_fingerprint import code_fingerprint, source_digest
from fglib.lab.grid import Experiment, check_distinct, find_experiment
from fglib.lab.places import checkpoints_dir, results_dir, tried_dir
from fglib.lab.records import Run, read_record


@dataclass(frozen=True)
class Plan:
    """One run that an experiment names, recorded or not."""

    experiment: Experiment
    variant: str
    preset: str
    seed: int
    config: RunConfig
    start: "Plan | None" = None  # the run that it starts from
    overrides: dict = field(default_factory=dict)  # what differs from the experiment in `config`
    tweak: bool = False  # what a reader changed or repeats: it lies apart from the book's records
    tried: type | None = None  # a class that a reader tries out in place of the configuration's method

    @property
    def name(self) -> str:
        """Folder name of the run."""
        name = f"{self.variant}.{self.preset}.s{self.seed}.{self.config.key()}"
        return f"{name}.{self.tried.__name__}.{source_digest(self.tried)}" if self.tried else name

    @property
    def folder(self) -> Path:
        """Where the record is or would be."""
        place = tried_dir(self.experiment.file) if self.tried else results_dir(self.experiment.file, self.tweak)
        return place / self.experiment.name / self.name

    @property
    def checkpoint(self) -> Path:
        """Where the weights are or would be."""
        place = checkpoints_dir(self.experiment.file, self.tweak)
        return place / self.experiment.name / f"{self.name}.safetensors"

    @property
    def apart(self) -> bool:
        """Whether it is an experiment of the book whose record here is no record of the book."""
        return results_dir(self.experiment.file, self.tweak) != results_dir(self.experiment.file)

    @property
    def code(self) -> str:
        """Fingerprint of the code that trains this run and those that it starts from."""
        configs = [plan.config for plan in (self, *self.starts)]
        code = code_fingerprint(*((config.method.name, config.model.backbone) for config in configs))
        return f"{code} {source_digest(self.tried)}" if self.tried else code

    @property
    def trained(self) -> bool:
        """Whether the checkpoint is there and is that of the last epoch."""
        from fglib.checkpoint import finished_epochs

        return finished_epochs(self.checkpoint) == self.config.train.epochs

    @property
    def starts(self) -> list["Plan"]:
        """The run that this one starts from, the one that that starts from, and so on."""
        return [] if self.start is None else [self.start, *self.start.starts]

    @property
    def writes(self) -> list[Path]:
        """Checkpoints that training this run writes: its own, and of the runs it starts from those not yet trained."""
        return [self.checkpoint, *(first.checkpoint for first in self.starts if not first.trained)]

    @property
    def recorded(self) -> bool:
        """Whether there is a record of this training with all the measures the experiment asks for."""
        return self.find() is not None

    def find(self) -> Run | None:
        """The record, None unless there is one with all the measures; RecordError when it is not readable."""
        if not (self.folder / "run.json").is_file():
            return None
        run = self.load()
        return run if set(self.config.measure) <= set(run.measured) else None

    def load(self) -> Run:
        """The record; RecordError when it is not readable."""
        return read_record(self)


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
    experiment = find_experiment(experiment)
    seeds = experiment.preset(preset).seeds if seeds is None else seeds
    if isinstance(seeds, int):
        raise ConfigError(f"seeds must be a list such as [0, 1], got {seeds}")
    check_distinct(seeds, "seed")
    overrides = overrides or {}
    apart = {"overrides": overrides, "tweak": tweak or bool(overrides)}
    return [
        Plan(experiment, v, preset, s, *_with_start(experiment.resolve(v, preset, s, overrides), preset), **apart)
        for s in seeds
        for v in experiment.chosen(variants)
    ]


def _with_start(config: RunConfig, preset: str) -> tuple[RunConfig, Plan | None]:
    """A configuration with the key of the run that it starts from, and that run: other weights are another run here."""
    if config.start is None:
        return config, None
    start = config.start
    try:
        first = plans(start.experiment, preset, [config.seed], [start.variant])[0]
    except RecursionError:
        raise ConfigError(
            f"`start` leads from {start.experiment} ({start.variant}) back to itself; name another run"
        ) from None
    return replace(config, start=replace(start, preset=preset, key=first.config.key())), first


def flat(overrides: dict, *above: str) -> Iterator[tuple[str, object]]:
    """Nested settings as pairs of a dotted key and a value."""
    for key, value in overrides.items():
        if isinstance(value, dict) and value:
            yield from flat(value, *above, key)
        else:
            yield ".".join((*above, key)), value


def nested(settings: dict[str, object]) -> dict:
    """What `flat` takes apart: settings by dotted keys as nested mappings."""
    out: dict = {}
    for name, value in settings.items():
        *sections, key = name.split(".")
        inner = out
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = value
    return out
