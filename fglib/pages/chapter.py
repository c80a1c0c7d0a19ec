"""What every chapter notebook does first: check its parameters.

papermill hands any parameter to a notebook, known or not, and most values of `-p` as text: a typo would go unnoticed
and the chapter would run with its defaults. So a chapter's second cell calls `check_parameters`, which takes a text
that reads as what is wanted, such as `-p seeds '[0]'`.
"""

import ast
from dataclasses import dataclass
from typing import Any

from fglib.documents import parse_yaml
from fglib.errors import ConfigError, check_known, shortened
from fglib.lab.grid import PRESETS


@dataclass(frozen=True)
class Parameters:
    """Checked parameters of a chapter, ready to hand to `lab.ensure` as keyword arguments."""

    preset: str
    seeds: list[int] | None
    device: str
    refresh: bool
    data_dir: str | None
    overrides: dict

    def keys(self):
        """Names, so that `lab.ensure("omniglot", **parameters)` works."""
        return vars(self).keys()

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


KNOWN = tuple(Parameters.__annotations__)


def check_parameters(names: dict[str, Any]) -> Parameters:
    """Check the parameters in a notebook's `globals()`; ConfigError names the one that is unknown or ill-typed."""
    for cell in names.get("In", []):
        # papermill heads the cell it injects with this comment
        if cell.startswith("# Parameters"):
            for name in assigned(cell):
                check_known("parameter", name, KNOWN)
    names |= {name: read_parameter(name, names[name]) for name in KNOWN}
    return Parameters(*(names[name] for name in KNOWN))


def read_parameter(name: str, value: Any) -> Any:
    """A chapter's parameter, which may come as text in YAML; ConfigError where it is not what it may be."""
    if isinstance(value, str) and name in ("seeds", "refresh", "overrides"):
        value = parse_yaml(value, f"parameter '{name}'")
    if name == "preset":
        check_known("preset", value, ("recorded", *PRESETS))
    else:
        allowed, words = ALLOWED[name]
        if not allowed(value):
            raise ConfigError(f"parameter '{name}' must {words}, got {shortened(value)}")
    return value


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(type(v) is int for v in value)  # True is an int, too


ALLOWED = {
    "seeds": (lambda v: v is None or _whole_numbers(v), "be a list of whole numbers such as [0, 1, 2] or None"),
    "device": (lambda v: isinstance(v, str), "be auto, cpu or cuda"),
    "refresh": (lambda v: isinstance(v, bool), "be True or False"),
    "data_dir": (lambda v: v is None or isinstance(v, str), "be a folder's path or None"),
    "overrides": (
        lambda v: isinstance(v, dict) and all(isinstance(section, dict) for section in v.values()),
        "map sections to settings, as in {'train': {'epochs': 2}}",
    ),
}


def assigned(source: str) -> list[str]:
    """Names that the statements of a cell assign to, such as a notebook's parameters."""
    out = []
    for node in ast.parse(source).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            out += [target.id for target in targets if isinstance(target, ast.Name)]
    return out
