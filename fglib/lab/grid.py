"""Experiments: a grid of runs in a YAML file, with the presets smoke, cpu and paper."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from fglib.config import Checked, RunConfig, Seed, build
from fglib.documents import read_yaml
from fglib.errors import ConfigError, check_known, shortened
from fglib.lab.places import experiment_path
from fglib.storage import user_path

PRESETS = ("smoke", "cpu", "photos", "paper")
COUNTED = ("paper", "photos", "cpu")  # whose records count, the best first; smoke only proves that the code runs
SECTIONS = ("data", "method", "train", "model", "augment", "measure")  # of a configuration, as presets have them
# names that Windows keeps for devices, whatever their ending
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}


@dataclass(frozen=True)
class Preset(Checked):
    """What a preset overrides in an experiment, and what it takes to run it."""

    hardware: str
    seeds: tuple[Seed, ...]
    data: dict = field(default_factory=dict)
    method: dict = field(default_factory=dict)
    train: dict = field(default_factory=dict)
    model: dict = field(default_factory=dict)
    augment: dict = field(default_factory=dict)
    measure: tuple[str, ...] | None = None
    variants: dict[str, dict] = field(default_factory=dict)  # what differs for single variants in this preset

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct(self.seeds, "seed")


@dataclass(frozen=True)
class Experiment:
    """A grid of runs: the variants of one question, in the presets smoke, cpu and paper."""

    name: str
    title: str
    question: str
    common: dict
    variants: dict[str, dict]
    presets: dict[str, Preset]
    chapter: str = ""  # where its results are read, if anywhere
    tune: dict = field(default_factory=dict)  # see fglib.lab.tune
    file: Path | None = None  # where it was read from

    def __post_init__(self) -> None:
        check_name(self.name, "experiment")
        if self.chapter:
            check_name(self.chapter, "chapter")
        for variant in self.variants:
            check_name(variant, "variant")
        check_distinct(tuple(self.variants), "variant")
        check_distinct(tuple(self.presets), "preset")

    def resolve(self, variant: str, preset: str, seed: int = 0, overrides: dict | None = None) -> RunConfig:
        """The configuration of one run: common, preset, variant, the preset's own for the variant, then `overrides`.

        A relative path of data means the folder of the experiment's file, one in `overrides` the working directory.
        """
        where = f"experiment {self.name}"
        check_known("variant", variant, self.variants, where)
        of_preset = self.preset(preset)
        chosen = {key: value for key, value in vars(of_preset).items() if key in SECTIONS and value}
        merged: dict = {}
        for layer in (self.common, chosen, self.variants[variant], of_preset.variants.get(variant, {})):
            merged = merge(merged, _placed(layer, self.file.parent if self.file else Path.cwd()))
        merged = merge(merged, _placed(overrides or {}, Path.cwd()))
        where = f"{where} ({variant}, {preset})"
        if "seed" in merged:
            raise ConfigError(f"{where}: 'seed' is no key to set; --seeds chooses seeds, or a preset's key 'seeds'")
        for key in ("preset", "key"):
            if isinstance(merged.get("start"), dict) and key in merged["start"]:
                raise ConfigError(f"{where}: 'start.{key}' is no key to set; it follows from the run that starts")
        return build(RunConfig, {**merged, "seed": seed}, where)

    def preset(self, name: str) -> Preset:
        """The preset of that name; ConfigError with the nearest name otherwise."""
        check_known("preset", name, self.presets, f"experiment {self.name}")
        return self.presets[name]

    def chosen(self, variants: Sequence[str] | None) -> tuple[str, ...]:
        """These variants, or all for None; ConfigError for a name that is unknown or stands twice, and for none."""
        if variants is None:
            return tuple(self.variants)
        for variant in variants:
            check_known("variant", variant, self.variants, f"experiment {self.name}")
        check_distinct(variants, "variant")
        return tuple(variants)


def check_distinct(values: Sequence[Hashable], what: str) -> None:
    """ConfigError unless there is a value and none stands twice; `what` names one of them."""
    if len(values) == 0:
        raise ConfigError(f"at least one {what} is needed, got none")
    seen: set = set()
    for value in values:
        if value in seen:
            raise ConfigError(f"{what} {shortened(value)} is named twice; name it once")
        seen.add(value)


def check_name(name: str, what: str) -> None:
    """ConfigError unless `name` can be the name of a folder on every system."""
    plain = re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?", name)
    if not plain or len(name) > 100 or name.split(".")[0].lower() in RESERVED:
        raise ConfigError(
            f"the name of the {what} {shortened(name)} cannot be that of a folder on every system: use up to 100 "
            "letters (a to z), digits, '_', '-' and '.', a letter or digit first, and no name that Windows keeps (con)"
        )


def merge(base: dict, over: dict) -> dict:
    """`over` laid on `base`, key by key at any depth; a section that changes its `name` is replaced whole."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        renamed = both and value.get("name", old.get("name")) != old.get("name")
        out[key] = merge(old, value) if both and not renamed else value
    return out


def _placed(layer: dict, folder: Path) -> dict:
    """A layer of configuration in which relative paths, of images and of another experiment, are below `folder`."""
    out = dict(layer)
    for key, value in layer.items():
        if key in ("data", "options", "start") and isinstance(value, dict):
            out[key] = _placed(value, folder)
        elif isinstance(value, str) and (key == "path" or (key == "experiment" and value.endswith((".yml", ".yaml")))):
            out[key] = str(folder / user_path(value))  # an experiment of the book is named, not found by a path
    return out


def find_experiment(experiment: str | Experiment) -> Experiment:
    """An experiment of the book by its name, or one in a YAML file of the user's own; an experiment as it is."""
    return experiment if isinstance(experiment, Experiment) else load_experiment(experiment_path(experiment))


def load_experiment(path: Path) -> Experiment:
    """Read an experiment file; every variant is resolved in every preset, so that a typo shows at once."""
    path = path.absolute()
    return _load(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=64)  # the ledger asks for the same files hundreds of times
def _load(path: Path, changed: int) -> Experiment:
    raw = read_yaml(path, "experiment file")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must be a mapping: title, question, chapter, common, variants, presets")
    for key in {"name", "file"} & raw.keys():
        raise ConfigError(f"{path} has the key '{key}'; an experiment is named by its file")
    if not isinstance(raw.get("presets"), dict):
        raise ConfigError(f"{path} lacks the mapping 'presets'")
    for name in raw["presets"]:
        check_known("preset", name, PRESETS, str(path))
    presets = {k: build(Preset, v, f"{path.name} preset {k}") for k, v in raw["presets"].items()}
    experiment = build(Experiment, {**raw, "name": path.stem, "presets": presets, "file": path}, path.name)
    for name, preset in experiment.presets.items():
        for variant in preset.variants:
            check_known("variant", variant, experiment.variants, f"{path.name} preset {name}")
        for variant in experiment.variants:
            experiment.resolve(variant, name)
    return experiment
