"""What every chapter notebook does first: check its parameters.

papermill hands any parameter to a notebook, known or not, and most values of `-p` as text: a typo would go unnoticed
and the chapter would run with its defaults. So a chapter's second cell calls `check_parameters`, which takes a text
that reads as what is wanted, such as `-p seeds '[0]'`.
"""

import ast
from dataclasses import dataclass
from typing import Any

from fglib.documents import parse_yaml
from fglib.errors import ConfigError, shortened, unknown
from fglib.lab.grid import PRESETS

KNOWN = ("preset", "seeds", "device", "refresh", "data_dir", "overrides")


@dataclass(frozen=True)
class Parameters:
    """Checked parameters of a chapter, ready to hand to `lab.ensure` as keyword arguments."""

    preset: str
    seeds: list[int] | None
    device: str
    refresh: bool
    data_dir: str | None
    overrides: dict

    def __iter__(self):
        return iter(vars(self))

    def keys(self):
        """Names, so that `lab.ensure("omniglot", **parameters)` works."""
        return vars(self).keys()

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def check_parameters(names: dict[str, Any]) -> Parameters:
    """Check the parameters in a notebook's `globals()`; ConfigError names the one that is unknown or ill-typed."""
    for cell in names.get("In", []):
        # papermill heads the cell it injects with this comment
        if cell.startswith("# Parameters"):
            for name in assigned(cell):
                if name not in KNOWN:
                    raise unknown("parameter", name, KNOWN)
    names |= {name: read_parameter(name, names[name]) for name in KNOWN}
    return Parameters(*(names[name] for name in KNOWN))


def read_parameter(name: str, value: Any) -> Any:
    """A chapter's parameter, which may come as text in YAML; ConfigError where it is not what it may be."""
    if isinstance(value, str) and name in ("seeds", "refresh", "overrides"):
        value = parse_yaml(value, f"parameter '{name}'")
    _check(name, value)
    return value


def _check(name: str, value: Any) -> None:
    if name == "preset" and value not in ("recorded", *PRESETS):
        raise unknown("preset", value, ("recorded", *PRESETS))
    if name == "seeds" and value is not None and not (isinstance(value, list) and value and all(map(_whole, value))):
        raise ConfigError(
            f"parameter 'seeds' must be a list of whole numbers such as [0, 1, 2] or None, got {shortened(value)}"
        )
    if name == "device" and not isinstance(value, str):
        raise ConfigError(f"parameter 'device' must be auto, cpu or cuda, got {shortened(value)}")
    if name == "refresh" and type(value) is not bool:
        raise ConfigError(f"parameter 'refresh' must be True or False, got {shortened(value)}")
    if name == "overrides" and not (isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())):
        raise ConfigError(
            "parameter 'overrides' must map sections to settings, as in {'train': {'epochs': 2}}, got "
            f"{shortened(value)}"
        )
    if name == "data_dir" and value is not None and not isinstance(value, str):
        raise ConfigError(f"parameter 'data_dir' must be a folder's path or None, got {shortened(value)}")


def assigned(source: str) -> list[str]:
    """Names that the statements of a cell assign to, such as a notebook's parameters."""
    out = []
    for node in ast.parse(source).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            out += [target.id for target in targets if isinstance(target, ast.Name)]
    return out


def _whole(value: Any) -> bool:
    return type(value) is int  # True is an int, too
