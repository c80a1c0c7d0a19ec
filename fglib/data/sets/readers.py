"""One reader for each named data set: from its public layout on disk to a training and a test split.

Each returns (train, test). `catalogue.yml` is the table that names them and says where they look; other readers are
in `taxonomies.py` and `fine_grained.py`, for Grafit, and in `annotated.py`, for Coarse2Fine.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch
import torch.nn.functional as F
from torch import Tensor

from fglib.data.boxes import cropped_boxes, numbers
from fglib.data.folder import Listing, has_split, image_sets, level_names, list_images, split_listing
from fglib.data.hierarchy import Hierarchy
from fglib.data.images import ImageSet, Splits
from fglib.data.pixels import AREA
from fglib.data.sets.catalogue import SOURCES
from fglib.data.sets.cifar import read_cifar100
from fglib.data.store import Store
from fglib.data.tables import damaged, read_columns
from fglib.errors import ConfigError, DataError, unknown

DIGIT_GROUPS = {"loops": "0689", "strokes": "147", "curves": "235"}  # closed loops, straight strokes, open curves
# the alphabets of the two small background sets
OMNIGLOT_SMALL = ["Balinese", "Early_Aramaic", "Greek", "Japanese_(katakana)", "Korean", "Latin", "Sanskrit", "Tagalog"]
PET_SPECIES = {"1": "cat", "2": "dog"}
SOP_TRAIN, SOP_ALL = 80_000, 120_053  # the paper's random split (patterns, Sec. 4.4)


def digits(size: int) -> Splits:
    """scikit-learn's 1,797 handwritten digits of 8 px; levels "group" (of like shape) and "digit"; 70 / 30 %."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    grey = torch.from_numpy(data.images * (255 / 16)).round().to(torch.uint8)  # (n,8,8), stored as 0 to 16
    images = resize(grey[:, None].expand(-1, 3, -1, -1), size)
    group = {digit: name for name, members in DIGIT_GROUPS.items() for digit in members}
    hierarchy, targets = Hierarchy.from_paths([(group[str(d)], str(d)) for d in data.target], ("group", "digit"))
    whole = ImageSet(images, hierarchy, targets, visible=hierarchy.levels)
    parts = train_test_split(range(len(whole)), test_size=0.3, stratify=data.target, random_state=0)
    return [whole.subset(sorted(part)) for part in parts]


def omniglot(root: Path, size: int, *, part: str = "small", skip_corrupt: bool = False) -> Splits:
    """Handwritten characters; levels "alphabet" and "character"; drawers 1 to 15 train, 16 to 20 test.

    part: "small", the 8 alphabets of the two small background sets, found in either layout, or "background", all
        30. Greek and Latin stand in both small sets and are taken once.
    Ink becomes white on black: what augmentation shifts in is black, and is then more paper, not a dark frame.
    """
    if part not in ("small", "background"):
        raise unknown("part", part, ("small", "background"), "data set 'omniglot'")
    found = {}
    for place in SOURCES["omniglot"].places:
        if (root / place).is_dir() and not (part == "background" and "small" in place):
            listing = list_images(root / place)
            for name, path in zip(listing.names, listing.classes):
                if part == "background" or path[0] in OMNIGLOT_SMALL:
                    found.setdefault((path, PurePosixPath(name).stem), f"{place}/{name}")
    missing = set(OMNIGLOT_SMALL) - {path[0] for path, _ in found}  # they are part of both
    if missing:
        raise DataError(
            f"part '{part}' of omniglot is incomplete under {root}: alphabets {', '.join(sorted(missing))} are not "
            f"there; unpack it into omniglot/ or choose another part"
        )
    keys = sorted(found)
    everything = Listing(Store(root), tuple(found[k] for k in keys), tuple(path for path, _ in keys))
    drawers = [stem.rpartition("_")[2] for _, stem in keys]  # a file is called <id>_<drawer>.png
    for drawer, key in zip(drawers, keys):
        if not drawer.isdecimal():
            raise DataError(f"{root / found[key]} is not called <id>_<drawer>, as the files of omniglot are")
    listings = everything.divided([int(drawer) <= 15 for drawer in drawers])
    options = {"resident": True, "skip_corrupt": skip_corrupt, "qualify": True, "resample": AREA}
    sets = image_sets(listings, ("alphabet", "character"), size, **options)
    return [replace(images, images=255 - images.images) for images in sets]


def cifar100(root: Path, size: int, *, per_class: int | None = None, **options) -> Splits:
    """CIFAR-100 from class folders or from torchvision's files; levels "superclass" and "class".

    per_class: keep only the first so many training images of each class, for a quick look; the test split stays.
    torchvision's files hold decoded images: `resident` and `skip_corrupt` then have nothing to decide.
    """
    if per_class is not None and per_class < 1:
        raise ConfigError(f"per_class must be at least 1, got {per_class}")
    levels = ("superclass", "class")
    if (root / "cifar100").is_dir():
        train, test = (list_images(root / "cifar100", split) for split in ("train", "test"))
        return image_sets([train.subset(_first(train.classes, per_class)), test], levels, size, **options)
    (train, test), (classes, others) = read_cifar100(root)
    hierarchy, targets = Hierarchy.from_paths(classes + others, levels)
    whole = ImageSet(resize(torch.cat([train, test]), size), hierarchy, targets, visible=levels)
    return [whole.subset(_first(classes, per_class)), whole.subset(range(len(train), len(whole)))]


def cub50(root: Path, size: int, **options) -> Splits:
    """The first 50 classes of CUB-200-2011 in their official split, with levels from order to species and boxes."""
    levels = ("order", "family", "genus", "species")
    box = ("box_x", "box_y", "box_w", "box_h", "width", "height")
    table = root / "CUB50/labels.csv"
    rows = read_columns(table, ("path", "split", *levels, *box))
    rows.sort(key=lambda row: row["path"])
    names = tuple(row["path"] for row in rows)
    for name, count in Counter(names).items():
        if count > 1:
            raise damaged(table, f"it lists {name} twice")
    if not {row["split"] for row in rows} <= {"train", "test"}:
        raise damaged(table, "the split of each image is train or test")
    low, extent, sides = numbers(table, names, [[row[k] for k in box] for row in rows], 6).split(2, dim=1)
    boxes = cropped_boxes(torch.cat([low, low + extent], dim=1), sides, size, table, names)
    classes = tuple(tuple(row[level] for level in levels) for row in rows)
    everything = Listing(Store(root / "CUB50/images"), names, classes, boxes)
    return image_sets(everything.divided([row["split"] == "train" for row in rows]), levels, size, **options)


def pets(root: Path, size: int, **options) -> Splits:
    """Oxford-IIIT-Pet in torchvision's layout and official split; levels "species" (cat, dog) and "breed"."""
    base = root / "oxford-iiit-pet"
    listings = []
    for split in ("trainval", "test"):
        table = base / f"annotations/{split}.txt"
        rows = read_columns(table, ("name", "class", "species", "breed"), " ", header=False)
        for row in rows:
            if row["species"] not in PET_SPECIES:
                raise DataError(f"{row['name']} in {table} is neither species 1 (cat) nor 2 (dog)")
        paths = [(PET_SPECIES[row["species"]], row["name"].rsplit("_", 1)[0]) for row in rows]
        listings.append(Listing.of(base / "images", zip((f"{row['name']}.jpg" for row in rows), paths)))
    return image_sets(listings, ("species", "breed"), size, **options)


def sop(root: Path, size: int, **options) -> Splits:
    """Stanford Online Products; levels "super" (12 kinds) and "product".

    The official split shares no product between its parts; the paper draws 80,000 of all 120,053 images for
    training at random, and so does this reader, with a fixed seed and the same fraction of fewer images.
    """
    base = root / "Stanford_Online_Products"
    columns = ("image_id", "class_id", "super_class_id", "path")
    rows = [row for part in ("train", "test") for row in read_columns(base / f"Ebay_{part}.txt", columns, " ")]
    paths = [(row["path"].split("/")[0].removesuffix("_final"), row["class_id"].zfill(5)) for row in rows]
    everything = Listing.of(base, zip((row["path"] for row in rows), paths))
    rank = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).argsort()
    listings = everything.divided((rank < round(len(rows) * SOP_TRAIN / SOP_ALL)).tolist())
    return image_sets(listings, ("super", "product"), size, **options)


def folder(
    size: int,
    *,
    path: str | Path,
    levels: list | tuple | None = None,
    test_fraction: int | float | None = None,
    qualify: bool = False,
    **options,
) -> Splits:
    """A catalogue of your own: path/train/<level1>/.../file and path/test/..., a folder or a zip archive.

    test_fraction: without a folder test, take this share of train (or of the path itself) for it, drawn with a
        fixed seed. Other options as in `folder.read_folder`.
    """
    train, test = (has_split(path, split) for split in ("train", "test"))
    if test_fraction is not None and not test:
        listings = split_listing(list_images(path, "train" if train else None), test_fraction)
    elif train and not test:
        raise DataError(
            f"{path} has a folder train but no folder test; add test/<class>/... or give a test_fraction such as 0.2"
        )
    else:
        listings = list_images(path, "train"), list_images(path, "test")
    depth, other = (len(part.classes[0]) for part in listings)
    if depth != other:
        raise DataError(f"{path}: images lie {depth} class folders deep in train, {other} in test; make them equal")
    return image_sets(listings, level_names(listings[0], levels), size, qualify=qualify, **options)


def resize(images: Tensor, size: int) -> Tensor:
    """uint8 (n,3,H,W) -> (n,3,size,size), bilinear and antialiased."""
    if images.shape[-2:] == (size, size):
        return images.contiguous()
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True)


def _first(classes: Sequence, count: int | None) -> list[int]:
    """The indices of the first `count` items of each class, or of all items."""
    seen = defaultdict(itertools.count)
    return [i for i, name in enumerate(classes) if count is None or next(seen[name]) < count]
