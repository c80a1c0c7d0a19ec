"""Readers of large sets whose classes lie in a taxonomy: ImageNet under WordNet, iNaturalist under that of life.

Each returns (train, test), and for test takes the validation images, whose labels are public, as Grafit does.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from fglib.data.folder import Listing, image_sets, list_images
from fglib.data.images import Splits
from fglib.data.sets.wordnet import coarse_cut, spanning_tree
from fglib.data.tables import damaged, read_json, read_map, read_pairs
from fglib.errors import ConfigError, DataError
from fglib.storage import user_path

COARSE_MAP, IS_A = "coarse127.txt", "wordnet.is_a.txt"
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


def imagenet(root: Path, size: int, *, coarse_map: str | None = None, num_coarse: int = 127, **options) -> Splits:
    """ImageNet (ILSVRC 2012) from imagenet/train/<wnid>/<file> and imagenet/val/<wnid>/<file>.

    Levels "coarse" and "class"; classes are named by their WordNet id (wnid).
    coarse_map: text file, relative to the folder imagenet, with a line "<wnid> <coarse name>" for each class; by
        default coarse127.txt if it is there. The 127 coarse classes of Huh et al. (arXiv 1608.08614), which Grafit
        uses, belong in such a file.
    num_coarse: without such a file, the least number of coarse classes that are derived from WordNet's
        wordnet.is_a.txt in the same folder. They are not the list of Huh et al., see `fglib.data.sets.wordnet`.
    """
    base = root / "imagenet"
    listings = [_class_folders(base, split) for split in ("train", "val")]
    wnids = sorted({wnid for part in listings for (wnid,) in part.classes})
    coarse = _coarse_classes(base, wnids, coarse_map, num_coarse)
    paths = {(wnid,): (coarse[wnid], wnid) for wnid in wnids}
    listings = [replace(part, classes=tuple(paths[path] for path in part.classes)) for part in listings]
    return image_sets(listings, ("coarse", "class"), size, **options)


def inaturalist(year: int, root: Path, size: int, **options) -> Splits:
    """The iNaturalist competition of 2018 or 2019 in its official split; seven levels from "kingdom" to "species".

    Below inaturalist<year>: train<year>.json, val<year>.json, categories.json with the real names, and the images
    in train_val<year>/<super-category>/<category>/<file>, or in <year>/..., where torchvision puts them.
    A class is named by its path from the kingdom on, as names recur in other branches.
    """
    base = root / f"inaturalist{year}"
    paths = _categories(base / "categories.json", RANKS[:-1])
    listings = _competition(year, base, base / f"train_val{year}", base, paths)
    return image_sets(listings, RANKS, size, **options, qualify=True)


inaturalist2018, inaturalist2019 = partial(inaturalist, 2018), partial(inaturalist, 2019)


def inaturalist2017(root: Path, size: int, **options) -> Splits:
    """The iNaturalist competition of 2017 in its official split; levels "supercategory" and "species".

    Its tables tell no ranks between the two. Below inaturalist2017: train2017.json and val2017.json, or both in
    train_val2017/, and the images in train_val_images/<supercategory>/<species>/<file>, or in 2017/..., where
    torchvision puts them. A species is named with its supercategory.
    """
    base = root / "inaturalist2017"
    tables = base / "train_val2017" if (base / "train_val2017").is_dir() else base
    paths = _categories(tables / "train2017.json", ("supercategory",), "categories")
    listings = _competition(2017, base, base / "train_val_images", tables, paths)
    return image_sets(listings, ("supercategory", "species"), size, **options, qualify=True)


def _class_folders(base: Path, split: str) -> Listing:
    folder = base / split
    flat = next(folder.glob("*.JPEG"), None) is not None  # so the archive of the validation images holds them
    listing = list_images(folder) if folder.is_dir() and not flat else None
    if listing is None or len(listing.classes[0]) != 1:
        raise DataError(
            f"{folder} must hold a folder of images for each class, {split}/<wnid>/<file>; "
            f"torchvision.datasets.ImageNet('{base}', '{split}') makes it from ILSVRC2012_img_{split}.tar and "
            f"ILSVRC2012_devkit_t12.tar.gz in {base}, if there is no folder {split} yet"
        )
    return listing


def _coarse_classes(base: Path, wnids: Sequence[str], coarse_map: str | None, num_coarse: int) -> dict[str, str]:
    """{wnid: coarse class} from a map, else from WordNet."""
    table = base / user_path(coarse_map or COARSE_MAP)
    if coarse_map is not None or table.is_file():
        return _with_all(wnids, table, read_map(table, "wnid and coarse name"))
    table = base / IS_A
    if not table.is_file():
        raise DataError(
            f"{base} does not say which coarse class a class belongs to: put {COARSE_MAP} there, a line "
            "'<wnid> <coarse name>' for each class (such as the 127 of Huh et al., arXiv 1608.08614), or WordNet's "
            f"{IS_A}, lines '<parent> <child>', to derive others from it"
        )
    if not 1 <= num_coarse <= len(wnids):
        raise ConfigError(f"num_coarse must lie between 1 and the number of classes, {len(wnids)}, got {num_coarse}")
    tree = spanning_tree(read_pairs(table, "parent and child"))
    return coarse_cut(_with_all(wnids, table, tree), wnids, num_coarse)


def _with_all(wnids: Sequence[str], path: Path, known: dict) -> dict:
    """What a table says; DataError unless it knows all classes."""
    missing = [wnid for wnid in wnids if wnid not in known]
    if missing:
        names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise damaged(path, f"{len(missing)} of the {len(wnids)} classes are not in it: {names}")
    return known


def _categories(path: Path, ranks: Sequence[str], *inside: str) -> dict[int, tuple[str, ...]]:
    """{category: its names from the first of the ranks to the species}; the categories may lie inside an object."""
    try:
        rows = read_json(path, _shrink)
        for key in inside:
            rows = rows[key]
        return {row["id"]: tuple("" + row[key] for key in (*ranks, "name")) for row in rows}  # no text: TypeError
    except (KeyError, TypeError) as error:
        raise damaged(path, f"it needs a list of categories with id, {', '.join(ranks)} and name") from error


def _competition(year: int, base: Path, images: Path, tables: Path, paths: dict[int, tuple[str, ...]]) -> list[Listing]:
    """The training and the validation images, from folder `images` or else from where torchvision puts them."""
    folder, listings = images if images.is_dir() else base / str(year), []
    for split in ("train", "val"):
        table = tables / f"{split}{year}.json"
        try:
            entries = read_json(table, _shrink)
            category = dict(entries["annotations"])
            rows = [(file.partition("/")[2], paths[category[image]]) for image, file in entries["images"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(
                table, f"it needs images and annotations, and for each image a category that is known ({error!r})"
            ) from error
        listings.append(Listing.of(folder, rows))  # the first folder of the names in the table is this one
    return listings


def _shrink(entry: dict):
    """(id, file) of an image, (image, category) of an annotation: half a million full entries would fill the memory."""
    if "file_name" in entry:
        return entry["id"], entry["file_name"]
    if "image_id" in entry:
        return entry["image_id"], entry["category_id"]
    return entry
