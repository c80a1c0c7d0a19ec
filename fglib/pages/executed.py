"""Chapters with their outputs, kept for as long as nothing changes that they could show."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import fglib
from fglib.errors import FglibError
from fglib.lab.places import book, results_dir, root
from fglib.pages.kernels import end_all, execute
from fglib.pages.notebooks import parse_notebook
from fglib.storage import data_root, write_atomically

PACKAGE = Path(fglib.__file__).parent


def executed(text: str, name: str = "a notebook of the book") -> NotebookNode:
    """The notebook in `text` with its outputs: those that are kept, or those of executing it now.

    It is with this function that myst-nb reads notebooks (nb_custom_formats in _config.yml), so that no page shows
    outputs of other code or records. FglibError when a cell fails.
    """
    path = _place(text)
    if not path.is_file():
        notebook = execute(parse_notebook(text, name), name, book())
        write_atomically(path, nbformat.writes(notebook).encode())
    return nbformat.read(path, as_version=4)


def execute_all() -> None:
    """Execute the book's notebooks that have no outputs yet, as many at a time as there are processors.

    Outputs of notebooks, code or records that are no more are removed. FglibError when a chapter fails, after all
    have been tried.
    """
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(book().glob("*.ipynb"))}
    for old in set(kept_dir().glob("*.ipynb")) - {_place(text) for text in texts.values()}:
        old.unlink(missing_ok=True)
    missing = {chapter: text for chapter, text in texts.items() if not _place(text).is_file()}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        longest_first = sorted(missing.items(), key=lambda item: -len(item[1]))  # so that none is left alone in the end
        ended = {chapter: pool.submit(_try, chapter, text) for chapter, text in longest_first}
        try:
            failed = [chapter for chapter, outcome in ended.items() if not outcome.result()]
        except BaseException:  # Ctrl-C: the chapters under way end with their kernels
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise
    if failed:
        raise FglibError(f"the book was not built: {', '.join(failed)} stopped, see above")


def _try(chapter: str, text: str) -> bool:
    start = time.monotonic()
    try:
        executed(text, chapter)
    except FglibError as e:
        print(e, file=sys.stderr, flush=True)
        return False
    print(f"    {chapter}, {time.monotonic() - start:.0f} s", flush=True)
    return True


def kept_dir() -> Path:
    """Where notebooks with their outputs are kept."""
    return root() / "_build" / "executed"


def _place(text: str) -> Path:
    """The file of a notebook's outputs, named by all that they depend on."""
    return kept_dir() / f"{sha256(_surroundings() + text.encode()).hexdigest()[:32]}.ipynb"


@cache
def _surroundings() -> bytes:
    """A digest of what any chapter may show beside its own text: code, records, claims, versions, data sets."""
    shown = [PACKAGE, results_dir(), book() / "experiments", book() / "claims.yml"]
    files = {path for start in shown for path in (start, *start.rglob("*")) if path.is_file()}
    digest = sha256()
    for path in sorted(files):
        if path.suffix != ".pyc":
            digest.update(str(path).encode() + sha256(path.read_bytes()).digest())
    versions = sorted({f"{package.name} {package.version}" for package in distributions()})
    data = data_root()
    sets = sorted((entry.name, entry.stat().st_mtime_ns) for entry in data.iterdir()) if data.is_dir() else []
    digest.update(repr((sys.version, versions, sets)).encode())
    return digest.digest()
