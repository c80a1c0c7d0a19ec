"""Experiments: a grid of runs in a YAML file, with the presets smoke, cpu and paper."""

import dataclasses
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from fglib.config import RunConfig, build
from fglib.documents import read_yaml
from fglib.errors import ConfigError, unknown

PRESETS = ("smoke", "cpu", "paper")


@dataclass(frozen=True)
class Preset:
    """What a preset overrides in an experiment, and what it takes to run it."""

    hardware: str
    seeds: tuple[int, ...]
    data: dict = field(default_factory=dict)
    method: dict = field(default_factory=dict)
    train: dict = field(default_factory=dict)
    model: dict = field(default_factory=dict)
    augment: dict = field(default_factory=dict)
    measure: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Experiment:
    """A grid of runs: the variants of one question, in the presets smoke, cpu and paper."""

    name: str
    title: str
    question: str
    chapter: str
    common: dict
    variants: dict
    presets: dict
    file: Path | None = None  # where it was read from

    def resolve(self, variant: str, preset: str, seed: int = 0, overrides: dict | None = None) -> RunConfig:
        """The configuration of one run: common, then the preset, then the variant, then `overrides`.

        A relative path of data means the folder of the experiment's file, one in `overrides` the working directory.
        """
        where = f"experiment {self.name}"
        if variant not in self.variants:
            raise unknown("variant", variant, self.variants, where)
        chosen = {
            f.name: getattr(self.preset(preset), f.name)
            for f in dataclasses.fields(Preset)
            if f.name not in ("hardware", "seeds") and getattr(self.preset(preset), f.name)
        }
        merged: dict = {}
        for layer in (self.common, chosen, self.variants[variant]):
            merged = merge(merged, _placed(layer, self.file.parent if self.file else Path.cwd()))
        merged = merge(merged, _placed(overrides or {}, Path.cwd()))
        return build(RunConfig, {**merged, "seed": seed}, f"{where} ({variant}, {preset})")

    def preset(self, name: str) -> Preset:
        """The preset of that name; ConfigError with the nearest name otherwise."""
        if name not in self.presets:
            raise unknown("preset", name, self.presets, f"experiment {self.name}")
        return self.presets[name]


def merge(base: dict, over: dict) -> dict:
    """`over` laid on `base`, section by section; a section that changes its `name` is replaced whole."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        renamed = both and value.get("name", old.get("name")) != old.get("name")
        out[key] = {**old, **value} if both and not renamed else value
    return out


def _placed(layer: dict, folder: Path) -> dict:
    """A layer of configuration in which relative paths, of images and of another experiment, are below `folder`."""
    out = dict(layer)
    for section, *keys in (("data", "options", "path"), ("start", "experiment")):
        if isinstance(layer.get(section), dict):
            out[section] = _placed_at(layer[section], keys, folder)
    return out


def _placed_at(section: dict, keys: list[str], folder: Path) -> dict:
    key, *rest = keys
    value = section.get(key)
    if rest:
        return {**section, key: _placed_at(value, rest, folder)} if isinstance(value, dict) else section
    # an experiment of the book is named, not found by a path
    if not isinstance(value, str) or (key == "experiment" and Path(value).suffix not in (".yml", ".yaml")):
        return section
    return {**section, key: str(folder / Path(value).expanduser())}


def load_experiment(path: Path) -> Experiment:
    """Read an experiment file; every variant is resolved in every preset, so that a typo shows at once."""
    path = path.absolute()
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)  # the ledger asks for the same files hundreds of times
def _load(path: Path, changed: int) -> Experiment:
    raw = read_yaml(path, "experiment file")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must be a mapping: title, question, chapter, common, variants, presets")
    if not isinstance(raw.get("presets"), dict):
        raise ConfigError(f"{path} lacks the mapping 'presets'")
    for name in raw["presets"]:
        if name not in PRESETS:
            raise unknown("preset", name, PRESETS, str(path))
    presets = {k: build(Preset, v, f"{path.name} preset {k}") for k, v in raw["presets"].items()}
    experiment = build(Experiment, {**raw, "name": path.stem, "presets": presets, "file": path}, path.name)
    for variant in experiment.variants:
        for preset in experiment.presets:
            experiment.resolve(variant, preset)
    return experiment
