"""Where the book lies, and beside it experiments, records, checkpoints and what readers try out.

The book is the folder that $FGLIB_BOOK names, else the nearest one with `_toc.yml` and `book/` upwards from the working
directory, else from the package. The library needs none.
"""

import os
from pathlib import Path

from fglib.errors import ConfigError, check_known
from fglib.storage import user_path


def find_root() -> Path | None:
    """The folder of the book's sources, with `_toc.yml` and `book/`; None where there is none.

    Raises ConfigError where $FGLIB_BOOK names a folder that is not one.
    """
    if named := os.environ.get("FGLIB_BOOK"):
        folder = user_path(named).absolute()
        if not _is_root(folder):
            raise ConfigError(f"FGLIB_BOOK names {folder}, which has no _toc.yml and book/; name the book's folder")
        return folder
    upwards = (folder for start in (Path.cwd(), Path(__file__).resolve()) for folder in (start, *start.parents))
    return next((folder for folder in upwards if _is_root(folder)), None)


def _is_root(folder: Path) -> bool:
    return (folder / "_toc.yml").is_file() and (folder / "book").is_dir()


def root() -> Path:
    """The folder of the book's sources; ConfigError where there is none."""
    found = find_root()
    if found is None:
        raise ConfigError(
            f"the book is not here: no folder upwards of {Path.cwd()} has _toc.yml and book/; work in a checkout of "
            "fglib, or name one in FGLIB_BOOK"
        )
    return found


def book() -> Path:
    """The folder of the chapters."""
    return root() / "book"


def experiments() -> Path:
    """The folder of the book's experiments."""
    return book() / "experiments"


def tweaks() -> Path:
    """The folder of what readers change or repeat, apart from the book's records."""
    return root() / "_build" / "tweaks"


def results_dir(experiment: Path | None = None, tweak: bool = False) -> Path:
    """Folder of run records: $FGLIB_RESULTS, else `results` beside the experiment's file.

    Those of the book's experiments, which stand for all where none is named, lie in book/results; with `tweak`, for
    what a reader changes or repeats, in _build/tweaks/results.
    """
    return _place("FGLIB_RESULTS", "results", "book", experiment, tweak)


def checkpoints_dir(experiment: Path | None = None, tweak: bool = False) -> Path:
    """Folder of training checkpoints (weights, never committed): $FGLIB_CHECKPOINTS, else as for records, with the
    book's in `checkpoints`."""
    return _place("FGLIB_CHECKPOINTS", "checkpoints", ".", experiment, tweak)


def tried_dir(experiment: Path | None) -> Path:
    """Folder of what `lab.try_out` makes, whatever the environment says: never among records."""
    return (tweaks() if experiment is None or _of_book(experiment) else experiment.parent / "tweaks") / "tried"


def _place(variable: str, name: str, home: str, experiment: Path | None, tweak: bool) -> Path:
    if os.environ.get(variable):
        return user_path(os.environ[variable]).absolute()
    if experiment is not None and not _of_book(experiment):
        return experiment.parent / name
    return (tweaks() if tweak else root() / home) / name


def _of_book(experiment: Path) -> bool:
    found = find_root()
    return found is not None and experiment.parent == found / "book" / "experiments"


def experiment_files() -> list[Path]:
    """The files of the book's experiments, by name."""
    return sorted(experiments().glob("*.yml"))


def experiment_path(name: str) -> Path:
    """The file of a named experiment, or a path to a YAML file of the user's own."""
    given = user_path(name).absolute()
    if given.suffix in (".yml", ".yaml"):
        if not given.is_file():
            raise ConfigError(f"no experiment file at {given}; `fglib train --list` names those of the book")
        return given
    known = {p.stem: p for p in experiment_files()}
    check_known("experiment", name, known, str(experiments()))
    return known[name]
