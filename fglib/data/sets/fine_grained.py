"""Readers of fine-grained sets that come without coarse labels: one level each, for transfer (Grafit, Sec. 4.6).

Each reads torchvision's layout and the official split, and returns (train, test).
"""

from pathlib import Path

from fglib.data.boxes import cropped_boxes, numbers, stored_sides
from fglib.data.folder import Listing, image_sets
from fglib.data.images import Splits
from fglib.data.store import Store
from fglib.data.tables import damaged, read_json, read_mat, whole_numbers

CAR_BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def flowers102(root: Path, size: int, **options) -> Splits:
    """Oxford Flowers-102; level "class", named by its number 001 to 102; train is the official train + val."""
    base = root / "flowers-102"
    table = base / "imagelabels.mat"
    labels = whole_numbers(table, read_mat(table, "labels"), 1, 102, "its classes are numbered 1 to 102")
    listings = []
    for parts in (("trnid", "valid"), ("tstid",)):
        known = f"images are numbered 1 to {len(labels)} in imagelabels.mat"
        table = base / "setid.mat"
        images = [i for part in parts for i in whole_numbers(table, read_mat(table, part), 1, len(labels), known)]
        rows = ((f"image_{i:05d}.jpg", (f"{labels[i - 1]:03d}",)) for i in images)
        listings.append(Listing.of(base / "jpg", rows))
    return image_sets(listings, ("class",), size, **options)


def cars(root: Path, size: int, **options) -> Splits:
    """Stanford Cars; level "model" (make, model, year); boxes are None where the annotations hold none."""
    base = root / "stanford_cars"
    models = read_mat(base / "devkit/cars_meta.mat", "class_names")
    listings = []
    for split, table in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        rows = read_mat(base / table, "annotations")
        columns = set(rows.dtype.names or ())
        if not {"fname", "class"} <= columns:
            raise damaged(base / table, "its annotations need fname and class")
        rows = sorted(rows, key=lambda row: str(row["fname"]))
        known = f"classes are numbered 1 to {len(models)} in cars_meta.mat"
        labels = whole_numbers(base / table, (row["class"] for row in rows), 1, len(models), known)
        names = tuple(str(row["fname"]) for row in rows)
        classes = tuple((str(models[label - 1]),) for label in labels)
        boxes = None
        if set(CAR_BOX) <= columns:
            corners = numbers(base / table, names, [[row[k] for k in CAR_BOX] for row in rows])
            corners[:, :2] -= 1  # the first pixel is number 1 there, and the last belongs to the box
            boxes = cropped_boxes(corners, stored_sides(base / f"cars_{split}", names), size, base / table, names)
        listings.append(Listing(Store(base / f"cars_{split}"), names, classes, boxes))
    return image_sets(listings, ("model",), size, **options)


def food101(root: Path, size: int, **options) -> Splits:
    """Food-101; level "dish"."""
    base = root / "food-101"
    listings = []
    for split in ("train", "test"):
        path = base / f"meta/{split}.json"
        try:
            dishes = {dish: [*files] if isinstance(files, list) else None for dish, files in read_json(path).items()}
            rows = [(file + ".jpg", (dish,)) for dish, files in dishes.items() for file in files]
        except (AttributeError, TypeError) as error:
            raise damaged(path, "it needs a list of files for each dish") from error
        listings.append(Listing.of(base / "images", rows))
    return image_sets(listings, ("dish",), size, **options)
