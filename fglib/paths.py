"""Where things lie: everything is found from the package, never from the working directory."""

import os
import re
from contextlib import suppress
from pathlib import Path

from fglib.errors import ConfigError, FglibError, unknown

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
EXPERIMENTS = BOOK / "experiments"
TWEAKS = ROOT / "_build" / "tweaks"


def user_path(path: str | Path) -> Path:
    """A path as users write it, `~` for their home folder; a `~name` of nobody stays as it is and names no file."""
    return Path(os.path.expanduser(path))


def results_dir(experiment: Path | None = None, tweak: bool = False) -> Path:
    """Folder of run records: $FGLIB_RESULTS, else `results` beside the experiment's folder or file.

    Those of the book's experiments, which stand for all where none is named, lie in book/results; with `tweak`, for
    what a reader changes or repeats, in _build/tweaks/results.
    """
    return _place("FGLIB_RESULTS", "results", BOOK, experiment, tweak)


def checkpoints_dir(experiment: Path | None = None, tweak: bool = False) -> Path:
    """Folder of training checkpoints (weights, never committed): $FGLIB_CHECKPOINTS, else as for records, with the
    book's in `checkpoints`."""
    return _place("FGLIB_CHECKPOINTS", "checkpoints", ROOT, experiment, tweak)


def _place(variable: str, name: str, home: Path, experiment: Path | None, tweak: bool) -> Path:
    if os.environ.get(variable):
        return user_path(os.environ[variable]).absolute()
    if experiment is not None and experiment.parent != EXPERIMENTS:
        return experiment.parent / name
    return (TWEAKS if tweak else home) / name


def experiment_files() -> list[Path]:
    """The files of the book's experiments, by name."""
    return sorted(EXPERIMENTS.glob("*.yml"))


def experiment_path(name: str) -> Path:
    """The file of a named experiment, or a path to a YAML file of the user's own."""
    given = user_path(name).absolute()
    if given.suffix in (".yml", ".yaml"):
        if not given.is_file():
            raise ConfigError(f"no experiment file at {given}; `fglib train --list` names those of the book")
        return given
    known = {p.stem: p for p in experiment_files()}
    if name not in known:
        raise unknown("experiment", name, known, str(EXPERIMENTS))
    return known[name]


def chapter_path(name: str) -> Path:
    """The notebook of a chapter, by its number, its name or a path to a notebook of the user's own."""
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name)
    known = {p.stem: p for p in sorted(BOOK.glob("*.ipynb"))}
    name = name.removesuffix(".ipynb")
    hits = [stem for stem in known if name in (stem, stem.split("_")[0])]
    if len(hits) != 1:
        raise unknown("chapter", name, known, str(BOOK))
    return known[hits[0]]


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
