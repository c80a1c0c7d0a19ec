"""Nested class folders, <split>/<level1>/<level2>/.../file, of any depth, in a folder or a zip archive."""

import math
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from fglib.data.files import FileImages
from fglib.data.hierarchy import ROOT, Hierarchy
from fglib.data.images import ImageSet, split_by_class
from fglib.data.pixels import BILINEAR, image_suffixes, unread_suffixes
from fglib.data.store import Store
from fglib.errors import ConfigError, DataError, printable, shortened
from fglib.storage import user_path

LAYOUT = "train/<class>/.../<file> and test/<class>/.../<file>, or <class>/.../<file> and a test_fraction"
HEIF = {".heic", ".heif", ".hif"}
RESIDENT_BYTES = 2e9  # a split up to this size is held decoded: it then fits on any GPU beside a network


@dataclass(frozen=True)
class Listing:
    """The image files of one split, sorted, with the class names of each from coarse to fine.

    boxes: (n,4) float (x0, y0, x1, y1) in pixels of the images as they will be decoded.
    """

    store: Store
    names: tuple[str, ...] = field(repr=False)
    classes: tuple[tuple[str, ...], ...] = field(repr=False)
    boxes: Tensor | None = field(default=None, repr=False)

    @classmethod
    def of(cls, folder: Path, rows: Iterable[tuple[str, tuple[str, ...]]]) -> "Listing":
        """The files below a folder, sorted, from (file, classes) in any order."""
        rows = sorted(rows)
        return cls(Store(folder), tuple(name for name, _ in rows), tuple(classes for _, classes in rows))

    def divided(self, trains: Sequence[bool]) -> tuple["Listing", "Listing"]:
        """The part to train on and the part to test on."""
        return tuple(self.subset([i for i, train in enumerate(trains) if train == part]) for part in (True, False))

    def subset(self, index: Sequence[int]) -> "Listing":
        """The files at `index`, in that order."""
        return replace(
            self,
            names=tuple(self.names[i] for i in index),
            classes=tuple(self.classes[i] for i in index),
            boxes=None if self.boxes is None else self.boxes[torch.as_tensor(index, dtype=torch.long)],
        )


def read_folder(
    root: str | Path, split: str | None = None, levels: Sequence[str] | None = None, size: int | None = None, **options
) -> ImageSet:
    """One split of nested class folders; the folders are the classes.

    root: a folder or a zip archive; split: the folder below it to read, None for the root itself.
    levels: names of the folder levels, coarse to fine; by default coarse and fine, or level1, level2, ...
    size, options: see `image_sets`.
    Raises DataError for missing folders, empty class folders, unequal depth and damaged images.
    """
    listing = list_images(root, split)
    return image_sets([listing], level_names(listing, levels), size, **options)[0]


def image_sets(
    listings: Sequence[Listing],
    levels: Sequence[str],
    size: int | None,
    *,
    resident: bool | str = "auto",
    skip_corrupt: bool = False,
    qualify: bool = False,
    crossed: bool = False,
    resample: Image.Resampling = BILINEAR,
) -> list[ImageSet]:
    """The image sets of several splits over one hierarchy, which has the classes of all.

    size: short side in pixels, the center square is kept; None takes the images as they are, all of one size.
    resident: decode all images into one tensor (True), each when asked for (False), or the first if they take
        at most 2 GB ("auto").
    skip_corrupt: leave out images that cannot be decoded, with a warning that counts, instead of an error.
    qualify, crossed: see `Hierarchy.from_paths`.
    """
    if not (isinstance(resident, bool) or resident == "auto"):
        raise ConfigError(f"resident must be true, false or 'auto', not {shortened(resident)}")
    for part in listings:
        if not part.names:
            raise DataError(f"{part.store.path}: a split would have no images; the data set is not complete")
    paths = [path for part in listings for path in part.classes]
    hierarchy, targets = Hierarchy.from_paths(paths, levels, qualify=qualify, crossed=crossed)
    start, sets = 0, []
    for part in listings:
        own = {level: labels[start : start + len(part.names)] for level, labels in targets.items()}
        start += len(part.names)
        files = FileImages(part.store, part.names, size, resample)
        images = ImageSet(files, hierarchy, own, visible=hierarchy.levels, paths=part.names, boxes=part.boxes)
        if skip_corrupt:
            images = images.subset(images.images.readable())
        _check_boxes_known(images)
        if resident is True or (resident == "auto" and math.prod(images.images.shape) <= RESIDENT_BYTES):
            images = replace(images, images=images.images.decode())
        sets.append(images)
    return sets


def list_images(root: str | Path, split: str | None = None) -> Listing:
    """The image files below `root` (a folder or zip archive) or below its folder `split`, with their classes.

    Warns of images in formats that cannot be read, with their numbers; what is no image is passed over.
    """
    store = _open(root)
    files, folders = store.names()
    top = "" if split is None else _split_folder(store, files, folders, split) + "/"
    inside = [(file, PurePosixPath(file).suffix.lower()) for file in files if file.startswith(top)]
    names = [file for file, suffix in inside if suffix in image_suffixes()]
    classes = [tuple(name[len(top) :].split("/")[:-1]) for name in names]
    unread = _unread(suffix for _, suffix in inside)
    if not names:
        raise DataError(f"no images below {store.where(top)}{unread and f' but {unread}'}; expected {LAYOUT}")
    for file, suffix in inside:
        if not suffix and os.path.islink(store.where(file)) and not os.path.exists(store.where(file)):
            raise DataError(f"{store.where(file)} is a link to something that does not exist; mend or remove it")
    filled = {top + "/".join(path[: k + 1]) for path in set(classes) for k in range(len(path))}
    empty = [folder for folder in folders if folder.startswith(top) and folder not in filled]
    if empty:
        here = _unread(suffix for file, suffix in inside if file.startswith(empty[0] + "/"))
        raise DataError(
            f"class folder {store.where(empty[0])} holds no images{here and f' but {here}'}; add some or remove it"
        )
    for name, path in zip(names, classes):
        if not path or len(path) != len(classes[0]):
            deep = f"{store.where(name)} lies {len(path)} class folders deep"
            other = f", {store.where(names[0])} {len(classes[0])}" if path else ""
            raise DataError(f"{deep}{other}; every image needs the same number of class folders, at least one")
    if unread:
        warnings.warn(printable(f"{store.where(top)}: left out {unread}"), stacklevel=2)
    return Listing(store, tuple(names), tuple(classes))


def _unread(suffixes: Iterable[str]) -> str:
    """How many of the files are images that cannot be read, and what to do; nothing if there are none."""
    found = Counter(suffix for suffix in suffixes if suffix in unread_suffixes())
    if not found:
        return ""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(found.items(), key=lambda kind: (-kind[1], kind)))
    heif = " (.heic also with the package pillow-heif)" if HEIF & set(found) else ""
    files = "1 file" if found.total() == 1 else f"{found.total()} files"
    return f"{files} that cannot be read as images: {kinds}; convert them to JPEG or PNG{heif}"


def level_names(listing: Listing, levels: Sequence[str] | None = None) -> tuple[str, ...]:
    """The names given for the folder levels, or by default coarse and fine when there are two, else level1, ...

    Raises ConfigError unless the names are as many as the levels on disk and all different.
    """
    depth = len(listing.classes[0])
    if levels is None:
        return ("coarse", "fine") if depth == 2 else tuple(f"level{k + 1}" for k in range(depth))
    names = {level for level in levels if isinstance(level, str) and level.strip()} - {ROOT}
    if isinstance(levels, str) or not len(names) == len(levels) == depth:
        raise ConfigError(
            f"levels must be {depth} different name{'s' * (depth > 1)}, coarse to fine, as images lie {depth} class "
            f"folder{'s' * (depth > 1)} deep below {listing.store.path}, and none may be '{ROOT}'; "
            f"got {shortened(levels)}"
        )
    return tuple(levels)


def split_listing(listing: Listing, fraction: float, seed: int = 0) -> tuple[Listing, Listing]:
    """A listing without splits as training and test part, the same for the same files, fraction and seed.

    Each finest class gives its share to the test part, rounded so that the total comes out right over classes
    with few images too; a class keeps at least one image for training.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"test_fraction must lie between 0 and 1, got {fraction}")
    number = {path: i for i, path in enumerate(sorted(set(listing.classes)))}
    train, test = split_by_class(torch.tensor([number[path] for path in listing.classes]), fraction, seed)
    if not len(test):
        raise DataError(f"{listing.store.path} has too few images for a test fraction of {fraction}")
    return listing.subset(train.tolist()), listing.subset(test.tolist())


def has_split(root: str | Path, split: str) -> bool:
    """Whether a folder or zip archive has a folder of that split; DataError if there is neither."""
    return _find_split(_open(root).names()[1], split) is not None


def _open(root: str | Path) -> Store:
    store = Store(user_path(root))
    if not os.path.exists(store.path):  # false also for a name that no file can have
        raise DataError(f"there is no folder or zip archive {store.path}; check the path")
    return store


def _find_split(folders: Sequence[str], split: str) -> str | None:
    """The folder of a split: at the top, or inside the only top folder, as in the zip of a whole folder."""
    tops = [folder for folder in folders if "/" not in folder]
    places = [split, *(f"{top}/{split}" for top in tops if len(tops) == 1)]
    return next((place for place in places if place in folders), None)


def _split_folder(store: Store, files: Sequence[str], folders: Sequence[str], split: str) -> str:
    found = _find_split(folders, split)
    if found is None:
        tops = ", ".join(folder for folder in folders if "/" not in folder) or f"no folders and {len(files)} files"
        raise DataError(f"{store.path} has no folder '{split}' (it has {tops}); expected {LAYOUT}")
    return found


def _check_boxes_known(images: ImageSet) -> None:
    """Raises DataError for a box that is not known because its image could not be read."""
    unknown = [] if images.boxes is None else images.boxes.isnan().any(dim=1).nonzero().flatten().tolist()
    for i in unknown:
        images.images[i]  # says why it cannot be read
        raise DataError(f"the box of {images.images.store.where(images.paths[i])} is not known; read the set again")
