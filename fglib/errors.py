"""Errors a user can mend: one sentence that names the thing, where it was looked for and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class FglibError(Exception):
    """Base of all errors that the command line prints as one sentence, with exit code 1."""


class ConfigError(FglibError, ValueError):
    """A key, name or value that a configuration, experiment or command line does not allow."""


class DataError(FglibError):
    """A data set that is missing, unreadable or not of the expected layout."""


class HiddenLabelsError(FglibError, PermissionError):
    """Labels were asked for that the experiment does not allow to be seen."""


class RecordError(FglibError):
    """A run record or checkpoint that is damaged or belongs to another configuration."""


class TrainingError(FglibError):
    """Training that cannot go on, such as a loss that is not finite."""


def unknown(kind: str, name: object, valid: Iterable[str], where: str = "") -> ConfigError:
    """The error for a name that is not among the valid ones; offers the nearest.

    >>> raise unknown("preset", "papre", ["smoke", "cpu", "paper"])
    Traceback (most recent call last):
    fglib.errors.ConfigError: unknown preset 'papre'; did you mean 'paper'? Valid: cpu, paper, smoke
    """
    valid = sorted(str(v) for v in valid)
    near = get_close_matches(str(name), valid, n=1, cutoff=0.5)
    place = f" in {where}" if where else ""
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return ConfigError(f"unknown {kind} '{name}'{place}{hint} Valid: {', '.join(valid) or 'none'}")
