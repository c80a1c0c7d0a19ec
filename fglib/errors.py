"""Errors a user can mend: one sentence that names the thing, where it was looked for and what to do."""

import re
import reprlib
import unicodedata
from collections.abc import Collection, Iterable
from difflib import get_close_matches

INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories: controls, formats, surrogates, line separators
JOINERS = "\u200c\u200d"  # formats that Persian, Indian scripts and emoji need inside a word


def printable(text: object) -> str:
    """`text` with control characters as visible escapes: line breaks, ESC, C1, bidirectional overrides and the like.

    A message may hold the name of any file. Escaped, it can neither forge a line nor move the cursor.

    >>> printable("a\\nfglib: all is well")
    'a\\\\nfglib: all is well'
    """
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in INVISIBLE and c not in JOINERS else c
        for c in str(text)
    )


def shortened(value: object, most: int = 60) -> str:
    """`repr(value)` for a message: at most `most` characters, without memory addresses."""
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", _REPR.repr(value))
    return text if len(text) <= most else f"{text[: most - 3]}..."


_REPR = reprlib.Repr()  # cuts while it goes through a value: the whole text of a nested one may be huge
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60


class FglibError(Exception):
    """Base of all errors that the command line prints as one sentence, with their exit code.

    The message is made `printable`.
    """

    exit_code = 1

    def __init__(self, message: object) -> None:
        super().__init__(printable(message))


class ConfigError(FglibError, ValueError):
    """A key, name or value that a configuration, experiment or command line does not allow."""

    exit_code = 2


class BusyError(FglibError):
    """A run that another process is training."""

    exit_code = 3


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
    near = get_close_matches(str(name)[:100], valid, n=1, cutoff=0.5)
    place = f" in {where}" if where else ""
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return ConfigError(f"unknown {kind} {shortened(str(name))}{place}{hint} Valid: {', '.join(valid) or 'none'}")


def check_known(kind: str, name: object, valid: Collection, where: str = "") -> None:
    """The error of `unknown` unless the name is among the valid ones."""
    if name not in valid:
        raise unknown(kind, name, valid, where)
