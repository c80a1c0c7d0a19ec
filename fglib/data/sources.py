"""The named data sets of the catalogue: `load` reads any of them, `status` says what is there."""

from pathlib import Path
from types import UnionType
from typing import get_args

import numpy as np

from fglib.data.images import DataSet
from fglib.data.sets.catalogue import IN_THE_BOX, SOURCES, Source
from fglib.errors import ConfigError, DataError, shortened, unknown
from fglib.storage import data_root

MAX_SIZE = 10_000  # pixels, the side of an image that a network is given
MAX_COUNT = 10_000_000  # of images, classes and whatever else an option counts
MAX_BYTES = 20e9  # of the images of a set that is made here, which are held in memory


def load(
    name: str, root: str | Path | None = None, size: int | None = None, download: bool = False, **options
) -> DataSet:
    """A named data set.

    root: the folder that data sets lie in, see `data_root`; size: side of the images in pixels, by default the
    set's own; download: fetch it if it is missing and can be had without a login; options: see the set's reader.
    Raises ConfigError for names and options that do not exist, DataError for data that is missing or damaged.
    """
    source = find_source(name)
    options = _checked(name, source, options)
    size = source.size if size is None else as_number(size)
    if not fits(size, int) or not 1 <= size <= MAX_SIZE:
        raise ConfigError(f"size must be a positive number of pixels up to {MAX_SIZE:,}, got {shortened(size)}")
    if not source.places:
        _check_room(name, source, size, options)
        train, test = source.read(size, **options)
    else:
        root = data_root(root)
        if not _places(source, root):
            if not (download and (source.fetch or source.archives)):
                places = ", ".join(source.places)
                raise DataError(f"data set '{name}' is not under {root} (looked for {places}); to get it: {source.how}")
            _download(name, source, root)
        train, test = source.read(root, size, **options)
    return DataSet(name, train, test, f"{source.what} (licence: {source.licence})")


def find_source(name: str) -> Source:
    """The entry of a named set; ConfigError with the nearest name if there is none."""
    if not isinstance(name, str) or name not in SOURCES:
        raise unknown("data set", name, SOURCES)
    return SOURCES[name]


def status(name: str, root: str | Path | None = None) -> tuple[bool, Path | None, str]:
    """Whether a set is there, where (None if it comes with the package), and how to get it."""
    source = find_source(name)
    places = _places(source, data_root(root))
    return bool(places) or source.how == IN_THE_BOX, places[0] if places else None, source.how


def _places(source: Source, root: Path) -> list[Path]:
    return [root / place for place in source.places if (root / place).is_dir()]


def _checked(name: str, source: Source, options: dict) -> dict:
    """The options with numbers of numpy as those of Python; ConfigError for one that a reader does not take."""
    known, checked = source.options(), {}
    for option, value in options.items():
        if option not in known:
            raise unknown("option", option, known, f"data set '{name}'")
        value = checked[option] = as_number(value)
        kind = known[option].annotation
        if not fits(value, kind):
            kind = getattr(kind, "__name__", str(kind))
            raise ConfigError(f"option '{option}' of data set '{name}' must be {kind}, not {shortened(value)}")
        if isinstance(value, int) and option != "seed" and value > MAX_COUNT:
            raise ConfigError(f"option '{option}' of data set '{name}' must be at most {MAX_COUNT:,}, not {value:,}")
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in checked:
            raise ConfigError(f"data set '{name}' needs the option '{option}'; {source.how}")
    return checked


def _check_room(name: str, source: Source, size: int, options: dict) -> None:
    """Raises ConfigError for more images than fit into memory, for sets that are made and not read."""
    known = {option: parameter.default for option, parameter in source.options().items()} | options
    count = sum(known.get(option) or 0 for option in ("images", "test_images"))
    if count * 3 * size**2 > MAX_BYTES:
        raise ConfigError(
            f"{count:,} images of {size} pixels for data set '{name}' take more than {MAX_BYTES / 1e9:.0f} GB; make "
            "fewer or smaller ones"
        )


def as_number(value: object) -> object:
    """A number of numpy as the one of Python; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def fits(value: object, kind: type | UnionType) -> bool:
    """Whether a value is of a kind: true and false are no numbers, and a number is finite and has 64 bits at most."""
    kinds = get_args(kind) or (kind,)
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int | float) and not -(2**63) <= value < 2**63:  # which NaN is not either
        return False
    return isinstance(value, kinds) and value != ""


def _download(name: str, source: Source, root: Path) -> None:
    from torchvision import datasets

    folder = str(root / source.into)
    try:
        for address in source.archives:  # first: the images are the last and largest to come
            datasets.utils.download_and_extract_archive(address, folder)
        if source.fetch:
            kind, arguments = source.fetch
            getattr(datasets, kind)(folder, download=True, **arguments)
    except (OSError, RuntimeError) as error:
        raise DataError(f"could not download '{name}' into {root} ({error}); otherwise: {source.how}") from error
