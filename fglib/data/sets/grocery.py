"""Grocery Store (Klasson, Zhang and Kjellström 2019): photographs of products, taken in shops."""

from pathlib import Path

from fglib.data.folder import Listing, image_sets
from fglib.data.images import Splits
from fglib.data.tables import damaged, read_columns

FOLDERS = ("GroceryStoreDataset", "GroceryStoreDataset-master")  # as cloned, and as GitHub packs it
PRODUCT, COARSE = "Class Name (str)", "Coarse Class Name (str)"


def grocery(root: Path, size: int, **options) -> Splits:
    """Grocery Store in the layout of its public repository; levels "group" (3), "coarse" (43) and "product" (81).

    Trained on the official training part and tested on the test part; the validation part is left out. Photographs of a
    product were taken in a few bursts and look alike: search those of the test in the training part.
    """
    base = next((root / name for name in FOLDERS if (root / name).is_dir()), root / FOLDERS[0]) / "dataset"
    coarse = {row[PRODUCT]: row[COARSE] for row in read_columns(base / "classes.csv", (PRODUCT, COARSE))}
    listings = []
    for split in ("train", "test"):
        table = base / f"{split}.txt"
        images = []
        for row in read_columns(table, ("path", "product", "coarse"), header=False):
            parts = row["path"].split("/")  # train/<group>/[<coarse>/]<product>/<file>
            if len(parts) < 4 or parts[-2] not in coarse:
                raise damaged(table, f"it needs a file below a group and a product of classes.csv, not {row['path']}")
            images.append((row["path"], (parts[1], coarse[parts[-2]], parts[-2])))
        listings.append(Listing.of(base, images))
    return image_sets(listings, ("group", "coarse", "product"), size, **options)
