"""Readers of fine-grained sets that come without coarse labels: one level each, for transfer (Grafit, Sec. 4.6).

Each reads torchvision's layout and the official split, and returns (train, test). Options `resident` and
`skip_corrupt` are those of `folder.read_folder`.
"""

from pathlib import Path

from fglib.data.files import Store
from fglib.data.folder import Listing, image_sets
from fglib.data.images import Splits
from fglib.data.tables import damaged, read_json, read_mat


def flowers102(root: Path, size: int, *, resident: bool | str = "auto", skip_corrupt: bool = False) -> Splits:
    """Oxford Flowers-102; level "class", named by its number 001 to 102; train is the official train + val."""
    base = root / "flowers-102"
    labels = read_mat(base / "imagelabels.mat", "labels")
    listings = []
    for parts in (("trnid", "valid"), ("tstid",)):
        numbers = sorted(int(i) for part in parts for i in read_mat(base / "setid.mat", part))
        if not numbers or not 1 <= numbers[0] <= numbers[-1] <= len(labels):
            raise damaged(base / "setid.mat", f"images are numbered 1 to {len(labels)} in imagelabels.mat")
        names = tuple(f"image_{i:05d}.jpg" for i in numbers)
        listings.append(Listing(Store(base / "jpg"), names, tuple((f"{int(labels[i - 1]):03d}",) for i in numbers)))
    return image_sets(listings, ("class",), size, resident=resident, skip_corrupt=skip_corrupt)


def cars(root: Path, size: int, *, resident: bool | str = "auto", skip_corrupt: bool = False) -> Splits:
    """Stanford Cars; level "model" (make, model, year)."""
    base = root / "stanford_cars"
    models = read_mat(base / "devkit/cars_meta.mat", "class_names")
    listings = []
    for split, table in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        rows = read_mat(base / table, "annotations")
        if not {"fname", "class"} <= set(rows.dtype.names or ()):
            raise damaged(base / table, "its annotations need fname and class")
        found = sorted((str(name), int(number)) for name, number in zip(rows["fname"], rows["class"]))
        if not all(1 <= number <= len(models) for _, number in found):
            raise damaged(base / table, f"classes are numbered 1 to {len(models)} in cars_meta.mat")
        names = tuple(name for name, _ in found)
        classes = tuple((str(models[number - 1]),) for _, number in found)
        listings.append(Listing(Store(base / f"cars_{split}"), names, classes))
    return image_sets(listings, ("model",), size, resident=resident, skip_corrupt=skip_corrupt)


def food101(root: Path, size: int, *, resident: bool | str = "auto", skip_corrupt: bool = False) -> Splits:
    """Food-101; level "dish"."""
    base = root / "food-101"
    listings = []
    for split in ("train", "test"):
        path = base / f"meta/{split}.json"
        try:
            rows = sorted((f"{file}.jpg", dish) for dish, files in read_json(path).items() for file in files)
        except (AttributeError, TypeError) as error:
            raise damaged(path, "it needs a list of files for each dish") from error
        names, classes = tuple(file for file, _ in rows), tuple((dish,) for _, dish in rows)
        listings.append(Listing(Store(base / "images"), names, classes))
    return image_sets(listings, ("dish",), size, resident=resident, skip_corrupt=skip_corrupt)
