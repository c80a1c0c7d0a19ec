"""The named data sets of the catalogue: `load` reads any of them, `status` says what is there."""

import os
from pathlib import Path

from fglib.data.catalogue import IN_THE_BOX, SOURCES, Source
from fglib.data.images import DataSet
from fglib.errors import ConfigError, DataError, unknown


def load(
    name: str,
    root: str | Path | None = None,
    size: int | None = None,
    download: bool = False,
    **options,
) -> DataSet:
    """A named data set.

    root: the folder that data sets lie in, see `find_root`; size: side of the images in pixels, by default the
    set's own; download: fetch it if it is missing and torchvision can; options: see the set's reader.
    Raises ConfigError for names and options that do not exist, DataError for data that is missing or damaged.
    """
    source = find_source(name)
    _check_options(name, source, options)
    size = source.size if size is None else size
    if not isinstance(size, int) or size < 1:
        raise ConfigError(f"size must be a positive number of pixels, got {size!r}")
    if not source.places:
        train, test = source.read(size, **options)
    else:
        root = find_root(root)
        if not _places(source, root):
            if download and source.fetch:
                _download(name, source, root)
            else:
                raise _missing(name, source, root)
        train, test = source.read(root, size, **options)
    return DataSet(name, train, test, f"{source.what} (licence: {source.licence})")


def find_source(name: str) -> Source:
    """The entry of a named set; ConfigError with the nearest name if there is none."""
    if name not in SOURCES:
        raise unknown("data set", name, SOURCES)
    return SOURCES[name]


def find_root(root: str | Path | None = None) -> Path:
    """The folder that data sets lie in: the one given, else $FGLIB_DATA, else ~/.cache/fglib."""
    return Path(root or os.environ.get("FGLIB_DATA") or "~/.cache/fglib").expanduser()


def status(name: str, root: str | Path | None = None) -> tuple[bool, Path | None, str]:
    """Whether a set is there, where (None if it comes with the package), and how to get it."""
    source = find_source(name)
    places = _places(source, find_root(root))
    return bool(places) or source.how == IN_THE_BOX, places[0] if places else None, source.how


def _places(source: Source, root: Path) -> list[Path]:
    return [root / place for place in source.places if (root / place).is_dir()]


def _check_options(name: str, source: Source, options: dict) -> None:
    known = source.options()
    for option, value in options.items():
        if option not in known:
            raise unknown("option", option, known, f"data set '{name}'")
        kind = known[option].annotation
        if not isinstance(value, kind):
            kind = getattr(kind, "__name__", str(kind))
            raise ConfigError(f"option '{option}' of data set '{name}' must be {kind}, not {value!r}")
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise ConfigError(f"data set '{name}' needs the option '{option}'; {source.how}")


def _missing(name: str, source: Source, root: Path) -> DataError:
    places = ", ".join(source.places)
    return DataError(f"data set '{name}' is not under {root} (looked for {places}); to get it: {source.how}")


def _download(name: str, source: Source, root: Path) -> None:
    from torchvision import datasets

    kind, arguments = source.fetch
    folder = str(root / source.into)
    try:
        for address in source.tables:  # first: the images are the last and largest to come
            datasets.utils.download_and_extract_archive(address, folder)
        getattr(datasets, kind)(folder, download=True, **arguments)
    except (OSError, RuntimeError) as error:
        raise DataError(f"could not download '{name}' into {root} ({error}); otherwise: {source.how}") from error
