"""Readers of large sets whose classes lie in a taxonomy: ImageNet under WordNet, iNaturalist under that of life.

Each returns (train, test), and for test takes the validation images, whose labels are public, as Grafit does. Options
`resident` and `skip_corrupt` are those of `folder.read_folder`.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from fglib.data.folder import Listing, image_sets, list_images
from fglib.data.images import Splits
from fglib.data.sets.wordnet import coarse_cut, spanning_tree
from fglib.data.store import Store
from fglib.data.tables import damaged, read_json, read_map, read_pairs
from fglib.errors import ConfigError, DataError
from fglib.storage import user_path

COARSE_MAP, IS_A = "coarse127.txt", "wordnet.is_a.txt"
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


def imagenet(
    root: Path,
    size: int,
    *,
    coarse_map: str | None = None,
    num_coarse: int = 127,
    resident: bool | str = "auto",
    skip_corrupt: bool = False,
) -> Splits:
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
    return image_sets(listings, ("coarse", "class"), size, resident=resident, skip_corrupt=skip_corrupt)


def inaturalist(
    year: int, root: Path, size: int, *, resident: bool | str = "auto", skip_corrupt: bool = False
) -> Splits:
    """The iNaturalist competition of 2018 or 2019 in its official split; seven levels from "kingdom" to "species".

    Below inaturalist<year>: train<year>.json, val<year>.json, categories.json with the real names, and the images
    in train_val<year>/<super-category>/<category>/<file>, or in <year>/..., where torchvision puts them.
    A class is named by its path from the kingdom on, as names recur in other branches.
    """
    base = root / f"inaturalist{year}"
    images = base / f"train_val{year}"
    store = Store(images if images.is_dir() else base / str(year))
    paths = _categories(base / "categories.json")
    listings = [_competition_split(base / f"{split}{year}.json", store, paths) for split in ("train", "val")]
    return image_sets(listings, RANKS, size, resident=resident, skip_corrupt=skip_corrupt, qualify=True)


inaturalist2018, inaturalist2019 = partial(inaturalist, 2018), partial(inaturalist, 2019)


def inaturalist2017(root: Path, size: int, *, resident: bool | str = "auto", skip_corrupt: bool = False) -> Splits:
    """The iNaturalist competition of 2017 in its official split; levels "supercategory" and "species".

    Its tables tell no ranks between the two. Below inaturalist2017: train2017.json and val2017.json, or both in
    train_val2017/, and the images in train_val_images/<supercategory>/<species>/<file>, or in 2017/..., where
    torchvision puts them. A species is named with its supercategory.
    """
    base = root / "inaturalist2017"
    images = base / "train_val_images"
    store = Store(images if images.is_dir() else base / "2017")
    tables = base / "train_val2017" if (base / "train_val2017").is_dir() else base
    paths = _supercategories(tables / "train2017.json")
    listings = [_competition_split(tables / f"{split}2017.json", store, paths) for split in ("train", "val")]
    levels = ("supercategory", "species")
    return image_sets(listings, levels, size, resident=resident, skip_corrupt=skip_corrupt, qualify=True)


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
        return _read_map(table, wnids)
    if not (base / IS_A).is_file():
        raise DataError(
            f"{base} does not say which coarse class a class belongs to: put {COARSE_MAP} there, a line "
            "'<wnid> <coarse name>' for each class (such as the 127 of Huh et al., arXiv 1608.08614), or WordNet's "
            f"{IS_A}, lines '<parent> <child>', to derive others from it"
        )
    if not 1 <= num_coarse <= len(wnids):
        raise ConfigError(f"num_coarse must lie between 1 and the number of classes, {len(wnids)}, got {num_coarse}")
    tree = spanning_tree(read_pairs(base / IS_A, "parent and child"))
    _check_all_in(base / IS_A, tree, wnids)
    return coarse_cut(tree, wnids, num_coarse)


def _read_map(path: Path, wnids: Sequence[str]) -> dict[str, str]:
    coarse = read_map(path, "wnid and coarse name")
    _check_all_in(path, coarse, wnids)
    return coarse


def _check_all_in(path: Path, known: dict, wnids: Sequence[str]) -> None:
    missing = [wnid for wnid in wnids if wnid not in known]
    if missing:
        names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise damaged(path, f"{len(missing)} of the {len(wnids)} classes are not in it: {names}")


def _categories(path: Path) -> dict[int, tuple[str, ...]]:
    """{category: its names from kingdom to species}."""
    try:
        return {row["id"]: _names(row, (*RANKS[:-1], "name")) for row in read_json(path)}
    except (KeyError, TypeError) as error:
        raise damaged(path, f"it needs a list of categories with id, {', '.join(RANKS[:-1])} and name") from error


def _supercategories(path: Path) -> dict[int, tuple[str, str]]:
    """{category: its supercategory and species}."""
    try:
        rows = read_json(path, _shrink)["categories"]
        return {row["id"]: _names(row, ("supercategory", "name")) for row in rows}
    except (KeyError, TypeError) as error:
        raise damaged(path, "it needs a list of categories with id, supercategory and name") from error


def _names(row: dict, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple("" + row[key] for key in keys)  # TypeError for what is not a text


def _competition_split(path: Path, store: Store, paths: dict[int, tuple[str, ...]]) -> Listing:
    """The images of one split, sorted by file. `store` is the first folder of the names in the table."""
    try:
        table = read_json(path, _shrink)
        category = dict(table["annotations"])
        rows = sorted((file.partition("/")[2], paths[category[image]]) for image, file in table["images"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(
            path, f"it needs images and annotations, and for each image a category that is known ({error!r})"
        ) from error
    return Listing(store, tuple(file for file, _ in rows), tuple(names for _, names in rows))


def _shrink(entry: dict):
    """(id, file) of an image, (image, category) of an annotation: half a million full entries would fill the memory."""
    if "file_name" in entry:
        return entry["id"], entry["file_name"]
    if "image_id" in entry:
        return entry["image_id"], entry["category_id"]
    return entry
