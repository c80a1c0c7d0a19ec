"""Paths as users write them, and files that are written whole or not at all."""

import os
import re
from contextlib import suppress
from pathlib import Path

from fglib.errors import FglibError


def user_path(path: str | Path) -> Path:
    """A path as users write it, `~` for their home folder; a `~name` of nobody stays as it is and names no file."""
    return Path(os.path.expanduser(path))


def data_root(root: str | Path | None = None) -> Path:
    """The folder that data sets lie in: the one given, else $FGLIB_DATA, else ~/.cache/fglib."""
    return user_path(root or os.environ.get("FGLIB_DATA") or "~/.cache/fglib")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a temporary file beside `path`, then rename it: even a power failure leaves the old file or the new one.

    Removes the temporary files that killed processes left of this one. Raises FglibError with one sentence when the
    disk is full or the folder may not be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as e:
        raise FglibError(
            f"cannot write {path}: {e.strerror or e}; free space or choose another folder "
            "(FGLIB_RESULTS, FGLIB_CHECKPOINTS); nothing recorded before is lost"
        ) from e
    finally:  # there is none any more, unless the writing was cut short
        with suppress(OSError):
            temporary.unlink()
    with suppress(OSError):  # the name itself, where the system can open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of `path` whose process is gone."""
    for other in path.parent.iterdir():
        if found := re.fullmatch(rf"\.{re.escape(path.name)}\.(\d{{1,9}})\.tmp", other.name):
            import psutil

            if not psutil.pid_exists(int(found[1])):
                other.unlink(missing_ok=True)
