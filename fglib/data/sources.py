"""The named data sets: what each is, where it lies, how to get it; `load` reads any of them."""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fglib.data import readers, synthetic
from fglib.data.images import DataSet
from fglib.errors import ConfigError, DataError, unknown


@dataclass(frozen=True)
class Source:
    """One named data set.

    read: the function that reads it, (root, size, *, options), or (size, *, options) when it needs no root.
    size: default side of its images in pixels.
    places: where it may lie below the data root, any one of them; none if it comes with the package.
    fetch: torchvision's class that downloads it and the arguments for it.
    """

    read: Callable
    levels: tuple[str, ...]
    size: int
    what: str
    licence: str
    how: str
    places: tuple[str, ...] = ()
    fetch: tuple[str, dict] | None = None

    def options(self) -> dict[str, inspect.Parameter]:
        """The options that `load` takes for this set."""
        parameters = inspect.signature(self.read).parameters
        return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


IN_THE_BOX = "nothing to get, it comes with the package"

SOURCES = {
    "digits": Source(
        readers.digits,
        ("group", "digit"),
        16,
        "scikit-learn's handwritten digits, grouped into closed loops (0 6 8 9), straight strokes (1 4 7) and open "
        "curves (2 3 5)",
        "CC BY 4.0",
        IN_THE_BOX,
    ),
    "patches": Source(
        synthetic.patches, ("big", "small"), 64, "synthetic patches of patterns, Sec. 4.1", "made here", IN_THE_BOX
    ),
    "nested_patches": Source(
        synthetic.nested_patches, ("big", "small"), 64, "synthetic patches in a tree", "made here", IN_THE_BOX
    ),
    "omniglot": Source(
        readers.omniglot,
        ("alphabet", "character"),
        32,
        "Omniglot, handwritten characters, split by drawer",
        "MIT",
        "unpack images_background_small1.zip and images_background_small2.zip of github.com/brendenlake/omniglot "
        "(folder python) into omniglot/, or let download=True fetch images_background, which contains them",
        readers.OMNIGLOT_PLACES,
        ("Omniglot", {"background": True}),
    ),
    "cifar100": Source(
        readers.cifar100,
        ("superclass", "class"),
        32,
        "CIFAR-100",
        "research use; Krizhevsky 2009",
        "let download=True fetch it, or put class folders into cifar100/train and cifar100/test",
        ("cifar100", "cifar-100-python"),
        ("CIFAR100", {}),
    ),
    "cub50": Source(
        readers.cub50,
        ("order", "family", "genus", "species"),
        64,
        "CUB-50, the first 50 classes of CUB-200-2011 (not the 200-class benchmark)",
        "non-commercial research",
        "put CUB50/images/<class>/<file> and CUB50/labels.csv there (path, split, order, family, genus, species, "
        "box_x, box_y, box_w, box_h, width, height), made from CUB-200-2011",
        ("CUB50",),
    ),
    "pets": Source(
        readers.pets,
        ("species", "breed"),
        224,
        "Oxford-IIIT-Pet",
        "CC BY-SA 4.0",
        "let download=True fetch it, or unpack images.tar.gz and annotations.tar.gz into oxford-iiit-pet/",
        ("oxford-iiit-pet",),
        ("OxfordIIITPet", {}),
    ),
    "sop": Source(
        readers.sop,
        ("super", "product"),
        224,
        "Stanford Online Products in the paper's random split",
        "research use; Song et al. 2016",
        "unpack Stanford_Online_Products.zip (cvgl.stanford.edu/projects/lifted_struct) there",
        ("Stanford_Online_Products",),
    ),
    "folder": Source(
        readers.folder,
        (),
        64,
        "a catalogue of your own",
        "yours",
        "name it with the option path: a folder or zip archive with train/<level1>/<level2>/file and test/...",
    ),
}


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
    try:
        getattr(datasets, kind)(str(root), download=True, **arguments)
    except (OSError, RuntimeError) as error:
        raise DataError(f"could not download '{name}' into {root} ({error}); otherwise: {source.how}") from error
