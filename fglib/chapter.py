"""What every chapter notebook does first: check its parameters.

papermill hands any parameter to a notebook, known or not, and reads `-p seed 1e-3` as text: a typo would go
unnoticed and the chapter would run with its defaults. So a chapter's second cell calls `check_parameters`.
"""

import ast
from dataclasses import dataclass
from typing import Any

from fglib.errors import ConfigError, unknown
from fglib.experiments import PRESETS

KNOWN = ("preset", "seeds", "device", "refresh", "data_dir")


@dataclass(frozen=True)
class Parameters:
    """Checked parameters of a chapter, ready to hand to `runs.ensure` as keyword arguments."""

    preset: str
    seeds: list[int] | None
    device: str
    refresh: bool
    data_dir: str | None

    def __iter__(self):
        return iter(vars(self))

    def keys(self):
        """Names, so that `runs.ensure("omniglot", **parameters)` works."""
        return vars(self).keys()

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def check_parameters(names: dict[str, Any]) -> Parameters:
    """Check the parameters in a notebook's `globals()`; ConfigError names the one that is unknown or ill-typed."""
    for cell in names.get("In", []):
        # papermill heads the cell it injects with this comment
        if cell.startswith("# Parameters"):
            for name in _assigned(cell):
                if name not in KNOWN:
                    raise unknown("parameter", name, KNOWN)
    preset, seeds, device, refresh, data_dir = (names[name] for name in KNOWN)
    if preset not in ("recorded", *PRESETS):
        raise unknown("preset", preset, ("recorded", *PRESETS))
    if seeds is not None and not (isinstance(seeds, list) and seeds and all(type(s) is int for s in seeds)):
        raise ConfigError(f"parameter 'seeds' must be a list of whole numbers such as [0, 1, 2] or None, got {seeds!r}")
    if not isinstance(device, str):
        raise ConfigError(f"parameter 'device' must be auto, cpu or cuda, got {device!r}")
    if type(refresh) is not bool:
        raise ConfigError(f"parameter 'refresh' must be True or False, got {refresh!r} ({type(refresh).__name__})")
    if data_dir is not None and not isinstance(data_dir, str):
        raise ConfigError(f"parameter 'data_dir' must be a folder's path or None, got {data_dir!r}")
    return Parameters(preset, seeds, device, refresh, data_dir)


def _assigned(source: str) -> list[str]:
    return [t.id for node in ast.parse(source).body if isinstance(node, ast.Assign) for t in node.targets]
