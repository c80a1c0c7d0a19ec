"""Grocery Store on a tiny copy of its layout, made here, and on the real one where it is at hand."""

import numpy as np
import pytest

from fglib.data.sources import load
from fglib.errors import DataError

HEAD = "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),Iconic Image Path (str)"
ROWS = (
    "Granny-Smith,0,Apple,0,/a.jpg",
    "Royal-Gala,1,Apple,0,/b.jpg",
    "Oatly-Milk,2,Milk,1,/c.jpg",
    "Garlic,3,Garlic,2,/d",
)
FOLDERS = {
    "Granny-Smith": "Fruit/Apple/Granny-Smith",
    "Royal-Gala": "Fruit/Apple/Royal-Gala",
    "Oatly-Milk": "Packages/Milk/Oatly-Milk",
    "Garlic": "Vegetables/Garlic",  # alone in its coarse class: without a folder for that
}


@pytest.fixture(params=["GroceryStoreDataset", "GroceryStoreDataset-master"])
def grocery(tmp_path, write_image, request):
    base = tmp_path / request.param / "dataset"
    lines = {"train": [], "val": [], "test": []}
    for split, found in lines.items():
        for number, (product, folder) in enumerate(FOLDERS.items()):
            path = f"{split}/{folder}/{product}_001.jpg"
            write_image(base / path, (50 * number, 0, 0))
            found.append(f"{path}, {number}, {min(number, 1)}")
        (base / f"{split}.txt").write_text("\n".join(found) + "\n")
    (base / "classes.csv").write_text("\n".join((HEAD, *ROWS)) + "\n")
    return base


def test_groups_coarse_classes_and_products(grocery):
    data = load("grocery", grocery.parents[1], size=8)
    assert data.hierarchy.levels == ("group", "coarse", "product")
    assert data.hierarchy.classes["coarse"] == ("Apple", "Garlic", "Milk")
    assert data.hierarchy.classes["group"] == ("Fruit", "Packages", "Vegetables")
    assert data.hierarchy.classes["product"] == tuple(sorted(FOLDERS))
    for split, images in (("train", data.train), ("test", data.test)):
        assert sorted(images.paths) == sorted(f"{split}/{folder}/{name}_001.jpg" for name, folder in FOLDERS.items())
        shades = {name: 50 * number for number, name in enumerate(FOLDERS)}
        for path, pixel in zip(images.paths, images.images[:, 0, 0, 0].tolist()):
            assert abs(shades[path.split("/")[-2]] - pixel) < 4


def test_tables_that_do_not_fit(grocery):
    root = grocery.parents[1]
    (grocery / "test.txt").write_text("test/Fruit/Apple/Grany-Smith/a.jpg, 0, 0\n")
    with pytest.raises(DataError, match="test.txt is not .*: it needs a file below a group and a product"):
        load("grocery", root, size=8)
    (grocery / "test.txt").write_text("Granny-Smith/a.jpg, 0, 0\n")
    with pytest.raises(DataError, match="test.txt is not the table"):
        load("grocery", root, size=8)
    (grocery / "classes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="classes.csv is not the table .* it needs the columns"):
        load("grocery", root, size=8)
    (grocery / "classes.csv").unlink()
    with pytest.raises(DataError, match="classes.csv is missing"):
        load("grocery", root, size=8)


def test_real_grocery_store_has_all_its_products(need_data):
    data = load("grocery", need_data("grocery"), size=16, resident=False)
    assert (len(data.train), len(data.test)) == (2640, 2485)
    counts = [data.hierarchy.num_classes(level) for level in ("group", "coarse", "product")]
    assert counts == [3, 43, 81]
    assert np.bincount(data.train.labels("product").numpy(), minlength=81).min() > 0
