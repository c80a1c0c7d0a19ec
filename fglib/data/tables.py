"""Tables of labels as data sets bring them, in text, JSON or MATLAB files.

All raise DataError, naming the file and the line, for a table that is missing or is not what it should be.
"""

import csv
import io
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from fglib import documents
from fglib.errors import DataError, shortened

MAX_TABLE = 1_000_000_000  # bytes; the largest of the sets read here has 0.3 billion
MAX_MAT = 100_000_000  # bytes of a MATLAB file, and of what its variables hold; the largest read here has 1 million
MAT_COMPRESSED = 15  # the tag of a compressed variable


def read_columns(path: Path, columns: Sequence[str], delimiter: str = ",", header: bool = True) -> list[dict[str, str]]:
    """The rows of a text table; with a header it must have these columns, without it has just these."""
    lines = ("\n" if line.startswith("#") else line for line in io.StringIO(_text(path), newline=""))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows, number = [], 1  # number: of the line that the next row begins in
    try:
        for cells in reader:
            rows += [(number, cells)] if cells else []
            number = reader.line_num + 1
    except csv.Error as error:
        raise damaged(path, f"line {number} cannot be read ({error})") from error
    names = columns
    if header:
        _, names = rows.pop(0) if rows else (1, [])
        if not set(columns) <= set(names) or len(set(names)) < len(names):
            raise damaged(path, f"it needs the columns {', '.join(columns)}, and has {shortened(names)}")
    for number, cells in rows:
        if len(cells) != len(names):
            raise damaged(path, f"line {number} has {len(cells)} cells, not {len(names)}")
    return [dict(zip(names, cells)) for _, cells in rows]


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file that are not empty, with their numbers from 1."""
    lines = io.StringIO(_text(path), newline=None)
    return [(number, line.rstrip("\n")) for number, line in enumerate(lines, start=1) if line.strip()]


def read_pairs(path: Path, columns: str) -> list[tuple[str, str]]:
    """The lines of a text file as (first word, rest); empty ones and those that start with # are left out.

    columns: what the two are, for the error.
    """
    pairs = []
    for number, line in read_lines(path):
        words = line.split(maxsplit=1)
        if line.startswith("#"):
            continue
        if len(words) == 1:
            raise damaged(path, f"line {number} needs {columns} and is {shortened(line)}")
        pairs.append((words[0], words[1].strip()))
    return pairs


def read_map(path: Path, columns: str) -> dict[str, str]:
    """A table of two columns, see `read_pairs`, as {first: second}; DataError if a first has two different seconds."""
    known: dict[str, str] = {}
    for key, value in read_pairs(path, columns):
        if known.setdefault(key, value) != value:
            raise damaged(path, f"it gives {key} both {shortened(known[key])} and {shortened(value)}")
    return known


def look_up(path: Path, columns: str, keys: Sequence[str], among: Sequence[str] = ()) -> list[str]:
    """What a table of two columns says of each key, one of the values `among`, or any if there are none."""
    known = read_map(path, columns)
    for key in keys:
        if key not in known:
            raise damaged(path, f"it needs {columns}, and {key} is not in it")
        if among and known[key] not in among:
            raise damaged(path, f"it gives {key} {shortened(known[key])}, not one of {', '.join(among)}")
    return [known[key] for key in keys]


def read_json(path: Path, shrink: Callable | None = None) -> Any:
    """What a JSON file holds. shrink: called with every object in it as soon as it is read, gives what to keep."""
    where = f"{path} is not the table it should be: it"
    return documents.parse_json(_text(path), where, error=DataError, shrink=shrink)


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file, which declares no entities of its own."""
    text = _text(path)
    try:
        if "<!DOCTYPE" in text:
            raise ValueError("it has a DOCTYPE")
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise damaged(path, f"it needs XML ({error})") from error


def read_mat(path: Path, variable: str) -> np.ndarray:
    """One variable of a MATLAB file, (n,)."""
    from scipy.io import loadmat

    check_there(path)
    try:
        if _mat_bytes(path) <= MAX_MAT:
            return np.atleast_1d(loadmat(path, squeeze_me=True, variable_names=[variable])[variable])
    except Exception as error:  # a damaged file makes scipy's reader fail in any way it can
        raise damaged(path, f"it needs the variable '{variable}' in MATLAB's format ({error})") from error
    raise damaged(path, f"it holds more than the {MAX_MAT:,} bytes that are read")


def _mat_bytes(path: Path) -> int:
    """What a MATLAB file takes together with its variables unpacked, counted until it is more than MAX_MAT.

    Raises zlib.error or ValueError for a compressed variable that is damaged.
    """
    total = path.stat().st_size
    with path.open("rb") as file:
        file.seek(124)  # the header of version 5 ends with its version and the order of the bytes
        order = "little" if file.read(4).endswith(b"IM") else "big"
        while total <= MAX_MAT and len(tag := file.read(8)) == 8:
            kind, size = (int.from_bytes(tag[k : k + 4], order) for k in (0, 4))
            content = file.read(min(size, MAX_MAT))
            if kind == MAT_COMPRESSED:
                unpacking = zlib.decompressobj()
                total += len(unpacking.decompress(content, MAX_MAT))
                if total <= MAX_MAT and not unpacking.eof:  # scipy would go on with what there is, and may crash on it
                    raise ValueError("a variable ends too early")
    return total


def whole_numbers(path: Path, values: Iterable, low: int, high: int, what: str) -> list[int]:
    """Values of a table as integers from `low` to `high`; DataError for any other. what: names them in the error."""
    found = []
    for value in values:
        try:
            number = int(value) if np.ndim(value) == 0 else None
            if number != value or not low <= number <= high:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            raise damaged(path, f"{what}, and it holds {shortened(value)}") from None
        found.append(number)
    return found


def check_there(path: Path) -> None:
    """Raises DataError unless the file exists."""
    if not path.is_file():
        raise DataError(f"{path} is missing; the data set is not complete")


def damaged(path: Path, why: str) -> DataError:
    """The error for a table that is there and cannot be used."""
    return DataError(f"{path} is not the table it should be: {why}")


def _text(path: Path) -> str:
    check_there(path)
    return documents.read_text(path, "table", error=DataError, most=MAX_TABLE)
