"""Tables of labels as data sets bring them, in text, JSON or MATLAB files.

All raise DataError, naming the file, for a table that is missing or is not what it should be.
"""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fglib.errors import DataError


def read_columns(path: Path, columns: Sequence[str], delimiter: str = ",", header: bool = True) -> list[dict[str, str]]:
    """The rows of a text table; with a header it must have these columns, without it has just these."""
    check_there(path)
    with path.open(newline="", encoding="utf-8") as file:
        lines = (line for line in file if not line.startswith("#"))
        rows = list(csv.DictReader(lines, None if header else columns, delimiter=delimiter))
    for row in rows:
        if any(row.get(column) is None for column in columns):
            raise damaged(path, f"it needs the columns {', '.join(columns)}")
    return rows


def read_pairs(path: Path, columns: str) -> list[tuple[str, str]]:
    """The lines of a text file as (first word, rest); empty ones and those that start with # are left out.

    columns: what the two are, for the error.
    """
    check_there(path)
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        words = line.split(maxsplit=1)
        if not words or line.startswith("#"):
            continue
        if len(words) == 1:
            raise damaged(path, f"line {number} needs {columns} and is '{line}'")
        pairs.append((words[0], words[1].strip()))
    return pairs


def read_json(path: Path, shrink: Callable | None = None):
    """What a JSON file holds. shrink: called with every object in it as soon as it is read, gives what to keep."""
    check_there(path)
    try:
        return json.loads(path.read_bytes(), object_hook=shrink)
    except ValueError as error:
        raise damaged(path, f"it is not JSON ({error})") from error


def read_mat(path: Path, variable: str) -> np.ndarray:
    """One variable of a MATLAB file, (n,)."""
    from scipy.io import loadmat

    check_there(path)
    try:
        return np.atleast_1d(loadmat(path, squeeze_me=True)[variable])
    except Exception as error:  # a damaged file makes scipy's reader fail in any way it can
        raise damaged(path, f"it needs the variable '{variable}' in MATLAB's format ({error})") from error


def check_there(path: Path) -> None:
    """Raises DataError unless the file exists."""
    if not path.is_file():
        raise DataError(f"{path} is missing; the data set is not complete")


def damaged(path: Path, why: str) -> DataError:
    """The error for a table that is there and cannot be used."""
    return DataError(f"{path} is not the table it should be: {why}")
