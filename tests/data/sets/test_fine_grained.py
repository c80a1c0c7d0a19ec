"""Flowers-102, Stanford Cars and Food-101 on tiny copies of their layouts, made here."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from fglib.data.sources import load
from fglib.errors import DataError

PARTS = {"trnid": [6, 2], "valid": [4], "tstid": [5, 1, 3]}
FLOWERS = [1, 1, 2, 2, 102, 102]  # the class of each image


@pytest.fixture
def flowers(tmp_path, write_image):
    base = tmp_path / "flowers-102"
    for i in range(1, 7):
        write_image(base / f"jpg/image_{i:05d}.jpg", (40 * i, 0, 0))
    savemat(base / "imagelabels.mat", {"labels": np.array([FLOWERS])})
    savemat(base / "setid.mat", {name: np.array([numbers]) for name, numbers in PARTS.items()})
    return base


def test_flowers_train_on_train_and_val(flowers):
    data = load("flowers102", flowers.parent, size=8)
    assert data.hierarchy.levels == ("class",)
    assert data.hierarchy.classes["class"] == ("001", "002", "102")
    assert data.train.paths == ("image_00002.jpg", "image_00004.jpg", "image_00006.jpg")
    assert data.test.paths == ("image_00001.jpg", "image_00003.jpg", "image_00005.jpg")
    for split, numbers in ((data.train, (2, 4, 6)), (data.test, (1, 3, 5))):
        assert split.labels("class").tolist() == [0, 1, 2]
        assert np.abs(split.images[:, 0, 0, 0].numpy() - 40.0 * np.array(numbers)).max() < 4  # JPEG is not exact


def test_flowers_with_tables_that_do_not_fit(flowers):
    savemat(flowers / "setid.mat", {"trnid": [[1]], "valid": [[7]], "tstid": [[2]]})
    with pytest.raises(DataError, match="setid.mat is not .*: images are numbered 1 to 6 in imagelabels.mat"):
        load("flowers102", flowers.parent, size=8)
    savemat(flowers / "setid.mat", {"trnid": [[1]], "valid": [[2]]})
    with pytest.raises(DataError, match="setid.mat is not .*: it needs the variable 'tstid'"):
        load("flowers102", flowers.parent, size=8)
    for labels in ([1.0, 1.5], [1.0, np.nan], [0, 1], [103, 1]):
        savemat(flowers / "imagelabels.mat", {"labels": np.array([labels])})
        with pytest.raises(DataError, match="imagelabels.mat is not .*: its classes are numbered 1 to 102, and"):
            load("flowers102", flowers.parent, size=8)
    (flowers / "imagelabels.mat").unlink()
    with pytest.raises(DataError, match="imagelabels.mat is missing"):
        load("flowers102", flowers.parent, size=8)


MODELS = ["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012", "smart fortwo Convertible 2012"]


def annotations(rows, **changes):
    """The struct array of an annotation file."""
    box = {"bbox_x1": 5, "bbox_y1": 1, "bbox_x2": 8, "bbox_y2": 6}
    fields = {**dict.fromkeys((*box, "class", "fname"), "O"), **changes}
    entries = np.zeros((1, len(rows)), dtype=[(name, kind) for name, kind in fields.items() if kind])
    for i, (number, file, *corners) in enumerate(rows):
        values = {**box, **dict(zip(box, corners)), "class": number, "fname": file}
        entries[0, i] = tuple(values[name] for name in entries.dtype.names)
    return {"annotations": entries}


@pytest.fixture
def cars(tmp_path, write_image):
    base = tmp_path / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    savemat(base / "devkit/cars_meta.mat", {"class_names": np.array([MODELS], dtype=object)})
    for split, table, numbers in (
        ("train", "devkit/cars_train_annos.mat", (3, 1, 2)),
        ("test", "cars_test_annos_withlabels.mat", (2, 3)),
    ):
        rows = [(number, f"{i + 1:05d}.jpg") for i, number in enumerate(numbers)]
        for number, file in rows:
            write_image(base / f"cars_{split}/{file}", (80 * number, 0, 0), (12, 8))
        savemat(base / table, annotations(rows))
    return base


def test_cars(cars):
    data = load("cars", cars.parent, size=8)
    assert data.hierarchy.levels == ("model",)
    assert data.hierarchy.classes["model"] == tuple(MODELS)
    assert data.train.paths == ("00001.jpg", "00002.jpg", "00003.jpg")
    assert data.train.labels("model").tolist() == [2, 0, 1]
    assert data.test.labels("model").tolist() == [1, 2]
    for split in (data.train, data.test):
        assert np.abs(split.images[:, 0, 0, 0].numpy() - 80.0 * (split.labels("model").numpy() + 1)).max() < 4


def test_boxes_of_cars(cars):
    savemat(cars / "devkit/cars_train_annos.mat", annotations([(3, "00003.jpg", 3, 3, 4, 6), (1, "00001.jpg")]))
    data = load("cars", cars.parent, size=16)
    # pixels are numbered from 1 and the last belongs to the box; two columns are cut on either side, the rest doubled
    assert data.train.boxes.tolist() == [[4, 0, 12, 12], [0, 4, 4, 12]]
    assert data.test.boxes.tolist() == [[4, 0, 12, 12]] * 2


def test_cars_without_boxes(cars):
    for table in ("devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"):
        savemat(cars / table, annotations([(1, "00001.jpg")], bbox_x2=None))
    data = load("cars", cars.parent, size=8)
    assert data.train.boxes is data.test.boxes is None


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((13, 1, 15, 6), r"gives 00001.jpg \(12 x 8 pixels\) the box .* lies outside the image"),
        ((5, 4, 8, 3), "gives 00001.jpg .* is empty or reversed"),
        ((5, 4, 8, "low"), "it needs 4 numbers for 00001.jpg"),
    ],
)
def test_cars_with_boxes_that_cannot_be(cars, box, message):
    savemat(cars / "devkit/cars_train_annos.mat", annotations([(1, "00001.jpg", *box), (2, "00002.jpg")]))
    with pytest.raises(DataError, match=f"cars_train_annos.mat .*{message}"):
        load("cars", cars.parent, size=8)


def test_cars_with_tables_that_do_not_fit(cars):
    table = cars / "cars_test_annos_withlabels.mat"
    savemat(table, annotations([(4, "00001.jpg")]))
    with pytest.raises(DataError, match="withlabels.mat is not .*: classes are numbered 1 to 3 in cars_meta.mat"):
        load("cars", cars.parent, size=8)
    savemat(table, annotations([(1, "00001.jpg")], **{"class": None}))  # as published for the competition
    with pytest.raises(DataError, match="withlabels.mat is not .*: its annotations need fname and class"):
        load("cars", cars.parent, size=8)
    savemat(table, {"annotations": np.array([[1, 2]])})
    with pytest.raises(DataError, match="its annotations need fname and class"):
        load("cars", cars.parent, size=8)
    table.unlink()
    with pytest.raises(DataError, match="cars_test_annos_withlabels.mat is missing"):
        load("cars", cars.parent, size=8)


@pytest.fixture
def food(tmp_path, write_image):
    base = tmp_path / "food-101"
    (base / "meta").mkdir(parents=True)
    for split, table in (
        ("train", {"pho": ["pho/9", "pho/11"], "baklava": ["baklava/7"]}),
        ("test", {"baklava": ["baklava/8"], "pho": ["pho/1"]}),
    ):
        (base / f"meta/{split}.json").write_text(json.dumps(table))
        for file in sum(table.values(), []):
            write_image(base / f"images/{file}.jpg", (200 if "pho" in file else 20, 0, 0))
    return base


def test_food(food):
    data = load("food101", food.parent, size=8)
    assert data.hierarchy.levels == ("dish",)
    assert data.hierarchy.classes["dish"] == ("baklava", "pho")
    assert data.train.paths == ("baklava/7.jpg", "pho/11.jpg", "pho/9.jpg")
    assert data.train.labels("dish").tolist() == [0, 1, 1]
    assert data.test.labels("dish").tolist() == [0, 1]
    for split in (data.train, data.test):
        assert ((split.images[:, 0, 0, 0] > 100).long() == split.labels("dish")).all()


@pytest.mark.parametrize("content", [["pho/1"], {"pho": 1}, {"pho": "pho/1"}, {"pho": [1]}])
def test_food_with_tables_that_do_not_fit(food, content):
    (food / "meta/test.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="test.json is not the table it should be: it needs a list of files"):
        load("food101", food.parent, size=8)
    (food / "meta/test.json").unlink()
    with pytest.raises(DataError, match="test.json is missing"):
        load("food101", food.parent, size=8)


@pytest.mark.parametrize(("name", "fixture"), [("flowers102", "flowers"), ("cars", "cars"), ("food101", "food")])
def test_damaged_images_are_left_out_on_demand(name, fixture, request):
    base = request.getfixturevalue(fixture)
    whole = load(name, base.parent, size=8)
    assert not load(name, base.parent, size=8, resident=False).train.resident
    damaged = next(base.rglob(whole.train.paths[0]))
    damaged.write_bytes(b"no image")
    with pytest.raises(DataError, match=damaged.name):
        load(name, base.parent, size=8)
    with pytest.warns(UserWarning, match=f"left out 1 of {len(whole.train)}"):
        data = load(name, base.parent, size=8, skip_corrupt=True)
    assert data.train.paths == whole.train.paths[1:]


@pytest.mark.parametrize(
    ("name", "fixture", "kind"), [("cars", "cars", "StanfordCars"), ("food101", "food", "Food101")]
)
def test_torchvision_reads_the_same(name, fixture, kind, request):
    import torchvision

    base = request.getfixturevalue(fixture)
    data = load(name, base.parent, size=8)
    (level,) = data.hierarchy.levels
    for split, images in (("train", data.train), ("test", data.test)):
        theirs = getattr(torchvision.datasets, kind)(str(base.parent), split)
        theirs = sorted((round(image.getpixel((0, 0))[0], -1), theirs.classes[label]) for image, label in theirs)
        labels = [data.hierarchy.classes[level][label] for label in images.labels(level)]
        ours = [(round(int(red), -1), label) for red, label in zip(images.images[:, 0, 0, 0], labels)]
        assert sorted(ours) == theirs
