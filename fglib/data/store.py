"""The files of a data set, in a folder or a zip archive: which there are, and the bytes of one."""

import os
import stat
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fglib.errors import DataError

MAX_FILE = 1_000_000_000  # bytes of one file; an image of 250 million pixels takes less in any common format
PIECES = {zipfile.ZIP_STORED: 1 << 20, zipfile.ZIP_DEFLATED: 1 << 20}  # bytes that are unpacked at once
LEAST_PIECE = 1 << 12  # for compressions that unpack a whole piece, however much it holds


@dataclass(frozen=True)
class Store:
    """A folder or a zip archive, read the same way; names inside are relative, with forward slashes."""

    path: Path

    @cached_property
    def is_folder(self) -> bool:
        return self.path.is_dir()

    def names(self) -> tuple[list[str], list[str]]:
        """All files and all folders inside, sorted, without hidden ones and what archivers leave behind."""
        files, folders = _walk(self.path) if self.is_folder else _archive(self.path).names()
        return sorted(files), sorted(folders)

    def size(self, name: str) -> int:
        """The bytes that `read` gives for a file; DataError if there is no such file."""
        try:
            if not self.is_folder:
                return _archive(self.path).entries[name].file_size
            if name.startswith("/") or ".." in name.split("/"):
                raise ValueError("it lies outside")
            found = os.stat(os.path.join(self.path, name))
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("it is not a file")
            return found.st_size
        except (OSError, ValueError, KeyError) as error:
            raise self._unreadable(name, error) from error

    def read(self, name: str, size: int | None = None) -> bytes:
        """The bytes of one file; DataError if there is none, if it is damaged, encrypted or larger than MAX_FILE.

        size: what `size` gives, where that is known already.
        """
        size = self.size(name) if size is None else size
        if size > MAX_FILE:
            raise self._unreadable(name, f"it holds {size:,} bytes, and the limit is {MAX_FILE:,}")
        try:
            if not self.is_folder:
                return _archive(self.path).read(name)
            with open(os.path.join(self.path, name), "rb") as file:
                return file.read()
        except MemoryError:
            raise
        except Exception as error:  # a damaged member makes each decompressor fail in its own way
            raise self._unreadable(name, error) from error

    def where(self, name: str) -> str:
        """The full name of a file, for messages and records."""
        return str(self.path / name)

    def _unreadable(self, name: str, why: object) -> DataError:
        if isinstance(why, KeyError):
            why = "it is not in the archive"
        elif isinstance(why, FileNotFoundError):
            why = "it does not exist, or is a link to something that does not"
        elif isinstance(why, OSError):
            why = why.strerror or why
        elif isinstance(why, RuntimeError):  # what zipfile raises for encryption and unknown compression
            why = f"{why}; unpack the archive and read the folder"
        return DataError(f"cannot read {self.where(name)} ({str(why) or type(why).__name__})")


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """Files and folders below a folder; links are followed, but not back to a folder that they lie in."""
    files, folders = [], []

    def fail(error: OSError) -> None:
        raise DataError(f"cannot list the folder {error.filename} ({error.strerror})") from error

    for top, below, found in os.walk(root, onerror=fail, followlinks=True):
        base = Path(top).relative_to(root).as_posix()
        base = "" if base == "." else base + "/"
        below[:] = [name for name in below if not _hidden(name)]
        for name in below:
            link = os.path.join(top, name)
            if os.path.islink(link) and Path(os.path.realpath(top)).is_relative_to(os.path.realpath(link)):
                raise DataError(f"{link} is a link to a folder that it lies in; remove it")
        folders += [base + name for name in below]
        files += [base + name for name in found if not _hidden(name)]
    return files, folders


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


class _Archive(NamedTuple):
    """An open zip archive with its entries by name."""

    file: zipfile.ZipFile
    entries: dict[str, zipfile.ZipInfo]

    def names(self) -> tuple[list[str], set[str]]:
        shown = [name for name in self.entries if not any(map(_hidden, name.rstrip("/").split("/")))]
        files = [name for name in shown if not name.endswith("/")]
        folders = {name.rstrip("/") for name in shown if name.endswith("/")}
        return files, folders | {str(p) for name in shown for p in list(PurePosixPath(name).parents)[:-1]}

    def read(self, name: str) -> bytes:
        """The bytes of an entry, as many as it claims at most; zipfile compares them with its checksum."""
        entry = self.entries[name]
        piece = PIECES.get(entry.compress_type, LEAST_PIECE)
        with self.file.open(entry) as member:
            return b"".join(iter(lambda: member.read(piece), b""))


def _archive(path: Path) -> _Archive:
    """The opened archive, as it is now. Each process opens its own: forked workers would share one file position."""
    try:
        found = path.stat()
        return _open_archive(path, (found.st_mtime_ns, found.st_size, found.st_ino), os.getpid())
    except DataError:
        raise
    except Exception as error:  # a damaged directory makes zipfile fail in any way it can
        raise DataError(f"{path} is neither a folder nor a readable zip archive ({error})") from error


@lru_cache(maxsize=8)
def _open_archive(path: Path, state: tuple, process: int) -> _Archive:
    file = zipfile.ZipFile(path)
    return _Archive(file, _entries(path, file.infolist()))


def _entries(path: Path, found: Iterable[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The entries of an archive by their names, as they would be called when unpacked; a folder's ends with a slash."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in found:
        name = entry.filename.replace("\\", "/")  # from archivers of Windows
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise DataError(f"{path} holds {entry.filename}, which lies outside the archive; pack it anew")
        if not parts:
            continue
        name = "/".join(parts) + "/" * name.endswith("/")
        known = entries.setdefault(name, entry)
        if (known.CRC, known.file_size) != (entry.CRC, entry.file_size):
            raise DataError(f"{path} holds two different files called {name}; pack it anew")
    return entries
