"""Dataclasses that are built from plain mappings: every key, type and value is checked once.

A field's annotation says which values it may have: a choice is a `Literal`, a range an interval, as in
`Annotated[float, "[0, 1)"]`. `build` checks keys and types, the dataclass itself its values, however it is made.
"""

import dataclasses
import math
import types
import typing
from functools import cache
from typing import Annotated, Any, Literal

from fglib.errors import ConfigError, check_known, shortened

OPTIONAL = (types.UnionType, typing.Union)  # origins of `int | None`


class Checked:
    """Base of dataclasses whose values must lie in the intervals and choices of their annotations.

    `section` stands before the names of fields in errors, as in train.lr. Not-a-number and infinity lie in no interval.
    """

    def __init_subclass__(cls, section: str = "") -> None:
        cls.section = section and f"{section}."

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            self._check(name, hint, getattr(self, name))

    def _check(self, name: str, hint: Any, value: Any) -> None:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is Annotated and not _inside(value, args[1]):
            raise self._refusal(name, value, _in_words(args[1]))
        if origin is Literal:
            check_known(f"value of {self.section}{name}", value, args)
        if origin in OPTIONAL and value is not None:
            self._check(name, args[0], value)
        if origin is tuple:
            members = [args[0]] * len(value) if args[-1] is Ellipsis else args
            for i, (member, each) in enumerate(zip(members, value)):
                self._check(f"{name}[{i}]", member, each)

    def refused(self, name: str, must_be: str) -> ConfigError:
        """The error for the value of a field."""
        value = getattr(self, name)
        return self._refusal(name, list(value) if isinstance(value, tuple) else value, must_be)

    def _refusal(self, name: str, value: Any, must_be: str) -> ConfigError:
        return ConfigError(f"{self.section}{name} is {shortened(value)}, must be {must_be}")


def build(cls: type, values: dict, where: str) -> Any:
    """An instance of the dataclass `cls` from a mapping, every key, type and value checked.

    Raises ConfigError naming the key: unknown (nearest valid name offered), missing, of another type or out of range.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where} must be a mapping, got {shortened(values)}")
    hints = _hints(cls)
    for key in values:
        check_known("key", key, hints, where)
    for f in dataclasses.fields(cls):
        if f.default is f.default_factory is dataclasses.MISSING and f.name not in values:
            raise ConfigError(f"{where} lacks the key '{f.name}'")
    arguments = {key: _typed(hints[key], value, f"{where}.{key}") for key, value in values.items()}
    try:
        return cls(**arguments)
    except ConfigError as e:  # names the section itself
        section = getattr(cls, "section", "").removesuffix(".")
        raise ConfigError(f"{where.removesuffix(f'.{section}')}: {e}") from e


def _typed(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`; integers stand for floats and lists for tuples, all else stays as it is."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, where)
    if origin in OPTIONAL and value is None:
        return None
    if origin in (*OPTIONAL, Annotated):
        return _typed(args[0], value, where)
    if origin is Literal:
        return _typed(type(args[0]), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        if args[-1] is Ellipsis:
            return tuple(_typed(args[0], v, where) for v in value)
        if len(value) == len(args):
            return tuple(_typed(a, v, where) for a, v in zip(args, value))
    if origin is dict and isinstance(value, dict):
        return {key: _typed(args[1], v, f"{where}.{key}") for key, v in value.items()}
    if hint is dict and isinstance(value, dict):
        return _plain(value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1000:
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    note = ""
    if hint is float and isinstance(value, str):
        note = " (YAML reads 1e-3 as text: write 1.0e-3)"
    if hint is str and isinstance(value, bool):
        note = " (YAML reads on, off, yes and no as truth values: put it in quotes)"
    raise ConfigError(f"{where} must be {_name(hint)}, got {shortened(value)}{note}")


def _plain(value: Any, where: str) -> Any:
    """The value if JSON can hold it, as options must be recorded; ConfigError otherwise."""
    if isinstance(value, dict):
        return {key: _plain(v, f"{where}.{key}") for key, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(v, where) for v in value)
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ConfigError(f"{where} must be text, a finite number, a list or a mapping, got {shortened(value)}")


def _name(hint: Any, several: bool = False) -> str:
    """A type in words."""
    names = {int: "whole number", float: "number", str: "text", bool: "truth value", dict: "mapping"}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _name(args[0], several)
    if origin is tuple:
        count = "" if args[-1] is Ellipsis else f"{len(args)} "
        return f"a list of {count}{_name(args[0], several=True)}"
    name = names.get(hint, "mapping")
    return f"{name}s" if several else name if hint is str else f"a {name}"


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _inside(value: float, interval: str) -> bool:
    low, high = map(float, interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    return above and (value <= high if interval[-1] == "]" else value < high)


def _in_words(interval: str) -> str:
    """An interval in words.

    >>> _in_words("[0, 1)")
    'at least 0 and below 1'
    """
    low, high = (end.strip() for end in interval[1:-1].split(","))
    words = [f"{'at least' if interval[0] == '[' else 'above'} {low}"]
    words.append("finite" if high == "inf" else f"{'at most' if interval[-1] == ']' else 'below'} {high}")
    return " and ".join(words)
