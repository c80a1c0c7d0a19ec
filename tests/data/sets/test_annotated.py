"""CUB-200, FGVC-Aircraft, Stanford Dogs and CelebA on tiny copies of their layouts, made here."""

import numpy as np
import pytest
import torch
from scipy.io import savemat

from fglib.data.sources import load
from fglib.errors import DataError


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))


def replace_line(path, start, line):
    """The table with another line in place of the one that starts so."""
    write_table(path, [line if row.startswith(start) else row for row in path.read_text().splitlines()])


BIRDS = [  # file, class, train, box x y w h, all of 40 x 20 pixels
    ("002.Crow/c_1.png", 2, 1, "12.0 4.0 10.0 4.0"),
    ("001.Auk/a_2.png", 1, 0, "0.0 0.0 40.0 20.0"),
    ("001.Auk/a_1.png", 1, 1, "20.0 10.0 30.0 5.0"),
    ("002.Crow/c_2.png", 2, 0, "10.0 0.0 1.0 20.0"),
]


@pytest.fixture
def cub200(tmp_path, write_image):
    base = tmp_path / "CUB_200_2011"
    tables = {"images": [], "image_class_labels": [], "train_test_split": [], "bounding_boxes": []}
    for i, row in enumerate(BIRDS, start=1):
        write_image(base / "images" / row[0], (60 * row[1], 0, 0), (40, 20))
        for table, value in zip(tables.values(), row):
            table.append(f"{i} {value}")
    tables["classes"] = ["1 001.Auk", "2 002.Crow"]
    for name, rows in tables.items():
        write_table(base / f"{name}.txt", rows)
    return base


def test_cub200(cub200):
    data = load("cub200", cub200.parent, size=10)
    assert data.hierarchy.levels == ("species",)
    assert data.hierarchy.classes["species"] == ("001.Auk", "002.Crow")
    assert data.train.paths == ("001.Auk/a_1.png", "002.Crow/c_1.png")
    assert data.test.paths == ("001.Auk/a_2.png", "002.Crow/c_2.png")
    for split in (data.train, data.test):
        assert split.labels("species").tolist() == [0, 1]
        assert split.images[:, 0, 0, 0].tolist() == [60, 120]
    # half the size, ten columns cut on either side; the first reaches beyond the image
    assert data.train.boxes.tolist() == [[5, 5, 10, 7.5], [1, 2, 6, 4]]
    assert data.test.boxes.tolist() == [[0, 0, 10, 10], [0, 0, 1, 10]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3 40.0 4.0 5.0 5.0", r"gives 001.Auk/a_1.png \(40 x 20 pixels\) the box .* lies outside the image"),
        ("3 20.0 4.0 0.0 5.0", "gives 001.Auk/a_1.png .* the box .* is empty or reversed"),
        ("3 20.0 4.0 5.0 -5.0", "gives 001.Auk/a_1.png .* the box .* is empty or reversed"),
        ("3 20.0 4.0 5.0", "it needs 4 numbers for 001.Auk/a_1.png, not 3"),
        ("3 20.0 4.0 5.0 wide", "it needs 4 numbers for 001.Auk/a_1.png .*wide"),
        ("9 20.0 4.0 5.0 5.0", "it needs image and box, and 3 is not in it"),
    ],
)
def test_cub200_with_boxes_that_cannot_be(cub200, line, message):
    replace_line(cub200 / "bounding_boxes.txt", "3 ", line)
    with pytest.raises(DataError, match=f"bounding_boxes.txt .*{message}"):
        load("cub200", cub200.parent, size=10)


def test_cub200_with_a_split_that_cannot_be(cub200):
    replace_line(cub200 / "train_test_split.txt", "3 ", "3 2")
    with pytest.raises(DataError, match="train_test_split.txt .*: it gives 3 '2', not one of 0, 1"):
        load("cub200", cub200.parent, size=10)


@pytest.mark.parametrize("table", ["image_class_labels", "classes", "train_test_split", "images", "bounding_boxes"])
def test_cub200_without_one_of_its_tables(cub200, table):
    path = cub200 / f"{table}.txt"
    rows = path.read_text().splitlines()
    if table != "images":  # it says which images there are
        write_table(path, rows[1:])
        with pytest.raises(DataError, match=f"{table}.txt is not the table it should be: it needs .* 1 is not in it"):
            load("cub200", cub200.parent, size=10)
    path.unlink()
    with pytest.raises(DataError, match=f"{table}.txt is missing"):
        load("cub200", cub200.parent, size=10)


PLANES = {  # image: manufacturer, family, variant, box; all of 20 x 40 pixels
    "0001": ("Boeing", "Boeing 737", "737-200", "1 11 20 30"),
    "0003": ("Boeing", "Boeing 737", "737-300", "5 13 8 20"),
    "0002": ("McDonnell Douglas", "F/A-18", "F/A-18", "3 15 10 40"),
    "0010": ("Boeing", "Boeing 737", "737-200", "3 3 18 18"),
    "0004": ("McDonnell Douglas", "F/A-18", "F/A-18", "1 1 20 40"),
}
PLANE_SPLITS = {"trainval": ("0003", "0001", "0002"), "test": ("0010", "0004")}


@pytest.fixture
def aircraft(tmp_path, write_image):
    base = tmp_path / "fgvc-aircraft-2013b/data"
    for i, image in enumerate(PLANES):
        write_image(base / f"images/{image}.jpg", (50 * i, 0, 0), (20, 40))
    for split, images in PLANE_SPLITS.items():
        for k, level in enumerate(("manufacturer", "family", "variant")):
            write_table(base / f"images_{level}_{split}.txt", [f"{image} {PLANES[image][k]}" for image in images])
    write_table(base / "images_box.txt", [f"{image} {row[3]}" for image, row in PLANES.items()])
    return base


def test_aircraft(aircraft):
    data = load("aircraft", aircraft.parent.parent, size=10)
    hierarchy = data.hierarchy
    assert hierarchy.levels == ("manufacturer", "family", "variant")
    assert hierarchy.nested
    assert hierarchy.classes["variant"] == ("737-200", "737-300", "F/A-18")
    assert data.train.paths == ("0001.jpg", "0002.jpg", "0003.jpg")
    assert data.test.paths == ("0004.jpg", "0010.jpg")
    for split in (data.train, data.test):
        for i, path in enumerate(split.paths):
            image = path.removesuffix(".jpg")
            shown = [hierarchy.classes[level][split.labels(level)[i]] for level in hierarchy.levels]
            assert tuple(shown) == PLANES[image][:3]
            assert abs(int(split.images[i, 0, 0, 0]) - 50 * list(PLANES).index(image)) < 4  # JPEG is not exact
    # pixels are numbered from 1 and the last belongs to the box; ten rows are cut above and below, the rest is halved
    assert data.train.boxes.tolist() == [[0, 0, 10, 10], [1, 2, 5, 10], [2, 1, 4, 5]]
    assert data.test.boxes.tolist() == [[0, 0, 10, 10], [1, 0, 9, 4]]


def test_torchvision_reads_the_same_aircraft(aircraft):
    from torchvision.datasets import FGVCAircraft

    root = aircraft.parent.parent
    for k, level in enumerate(("manufacturer", "family", "variant")):
        name = {"family": "families"}.get(level, f"{level}s")
        write_table(aircraft / f"{name}.txt", sorted({row[k] for row in PLANES.values()}))
        data = load("aircraft", root, size=10)
        for split, images in (("trainval", data.train), ("test", data.test)):
            theirs = FGVCAircraft(root, split, level)
            expected = sorted(zip((file.rsplit("/", 1)[1] for file in theirs._image_files), theirs._labels))
            assert list(zip(images.paths, images.labels(level).tolist())) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0002 21 15 25 40", "gives 0002.jpg .* lies outside the image"),
        ("0002 10 15 9 40", "gives 0002.jpg .* is empty or reversed"),
        ("0002 10 15", "it needs 4 numbers for 0002.jpg"),
        ("0005 1 1 2 2", "it needs image and box, and 0002 is not in it"),
    ],
)
def test_aircraft_with_boxes_that_cannot_be(aircraft, line, message):
    replace_line(aircraft / "images_box.txt", "0002", line)
    with pytest.raises(DataError, match=f"images_box.txt .*{message}"):
        load("aircraft", aircraft.parent.parent, size=10)


def test_aircraft_with_tables_that_do_not_fit(aircraft):
    write_table(aircraft / "images_family_test.txt", ["0004 F/A-18"])
    with pytest.raises(DataError, match="images_family_test.txt .* it needs image and family, and 0010 is not in it"):
        load("aircraft", aircraft.parent.parent, size=10)
    (aircraft / "images_family_test.txt").unlink()
    with pytest.raises(DataError, match="images_family_test.txt is missing"):
        load("aircraft", aircraft.parent.parent, size=10)


DOGS = {  # image: boxes; all of 40 x 20 pixels
    "n02085620-Chihuahua/n02085620_1": [(12, 4, 22, 8)],
    "n02085620-Chihuahua/n02085620_2": [(0, 0, 5, 5), (10, 0, 30, 20), (12, 1, 13, 2)],
    "n02113712-miniature_poodle/n02113712_7": [(30, 10, 45, 21)],
    "n02113712-miniature_poodle/n02113712_3": [(1, 2, 9, 12)],
}
DOG_SPLITS = {"train": (0, 2), "test": (3, 1)}


def annotation(boxes, width=40):
    objects = "".join(
        f"<object><name>dog</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox>"
        "</object>"
        for a, b, c, d in boxes
    )
    size = f"<size><width>{width}</width><height>20</height><depth>3</depth></size>"
    return f"<annotation><folder>02085620</folder>{size}{objects}</annotation>"


@pytest.fixture
def dogs(tmp_path, write_image):
    base = tmp_path / "stanford_dogs"
    for i, (image, boxes) in enumerate(DOGS.items()):
        write_image(base / f"Images/{image}.jpg", (60 * i, 0, 0), (40, 20))
        write_table(base / f"Annotation/{image}", [annotation(boxes)])
    (base / "lists").mkdir()
    for split, members in DOG_SPLITS.items():
        files = np.array([[f"{list(DOGS)[i]}.jpg"] for i in members], dtype=object)
        labels = np.array([[1 + (i > 1)] for i in members])
        savemat(base / f"lists/{split}_list.mat", {"file_list": files, "labels": labels})
    return base


def test_dogs(dogs):
    data = load("dogs", dogs.parent, size=10)
    assert data.hierarchy.levels == ("breed",)
    assert data.hierarchy.classes["breed"] == ("Chihuahua", "miniature_poodle")
    for split, members in ((data.train, (0, 2)), (data.test, (1, 3))):
        assert split.paths == tuple(f"{list(DOGS)[i]}.jpg" for i in members)
        assert split.labels("breed").tolist() == [0, 1]
        assert np.abs(split.images[:, 0, 0, 0].numpy() - 60.0 * np.array(members)).max() < 4
    # half the size, ten columns cut on either side
    assert data.train.boxes.tolist() == [[1, 2, 6, 4], [9, 5, 10, 10]]  # the second is cut and keeps a pixel
    assert data.test.boxes.tolist() == [[0, 0, 10, 10], [0, 1, 1, 6]]  # the largest of three; one beside the square


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (annotation([(41, 2, 45, 8)]), r"Annotation gives .*_1.jpg \(40 x 20 pixels\) the box .* outside the image"),
        (annotation([(9, 2, 9, 8)]), "Annotation gives .*_1.jpg .* is empty or reversed"),
        (annotation([]), "n02085620_1 is not .*: it needs the size of the image and the box of an object"),
        (annotation([(1, 2, 3, "low")]), "n02085620_1 is not .*: it needs the size .*low"),
        (annotation([(1, 2, 3, 4)], width="nan"), "Annotation is not .*: it needs 6 numbers for .*_1.jpg"),
        (annotation([(1, 2, 3, 4)], width="0"), "Annotation gives .*_1.jpg .* belongs to an image without pixels"),
        (annotation([(1, 2, 3, 4)], width=""), "n02085620_1 is not .*: it needs the size"),
        ("<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>", "n02085620_1 is not .* needs"),
        ("<annotation>", "n02085620_1 is not the table it should be: it needs"),
        ("", "n02085620_1 is not the table it should be: it needs"),
    ],
)
def test_dogs_with_annotations_that_cannot_be(dogs, text, message):
    (dogs / "Annotation/n02085620-Chihuahua/n02085620_1").write_text(text)
    with pytest.raises(DataError, match=message):
        load("dogs", dogs.parent, size=10)


def test_dogs_without_one_of_their_files(dogs):
    (dogs / "Annotation/n02085620-Chihuahua/n02085620_1").unlink()
    with pytest.raises(DataError, match="n02085620_1 is missing"):
        load("dogs", dogs.parent, size=10)
    savemat(dogs / "lists/train_list.mat", {"labels": [1]})
    with pytest.raises(DataError, match="train_list.mat is not .*: it needs the variable 'file_list'"):
        load("dogs", dogs.parent, size=10)


SIGNS = {"000001.jpg": "-1  1", "000002.jpg": " 1 -1", "000003.jpg": " 1  1", "000004.jpg": "-1 -1"}


@pytest.fixture
def celeba(tmp_path, write_image):
    base = tmp_path / "celeba"
    for i, name in enumerate(SIGNS):
        write_image(base / "img_align_celeba" / name, (60 * i, 0, 0), (18, 22))
    write_table(
        base / "list_attr_celeba.txt",
        ["4", "Smiling Wearing_Hat ", *(f"{name} {signs}" for name, signs in SIGNS.items())],
    )
    write_table(base / "list_eval_partition.txt", [f"{name} {part}" for name, part in zip(SIGNS, (0, 0, 1, 2))])
    return base


def test_celeba(celeba):
    data = load("celeba", celeba.parent, size=10)
    assert data.hierarchy.levels == ("Smiling", "Wearing_Hat")
    assert not data.hierarchy.nested
    assert data.hierarchy.classes == {"Smiling": ("no", "yes"), "Wearing_Hat": ("no", "yes")}
    assert data.train.paths == ("000001.jpg", "000002.jpg")
    assert data.train.labels("Smiling").tolist() == [0, 1]
    assert data.train.labels("Wearing_Hat").tolist() == [1, 0]
    assert data.test.paths == ("000004.jpg",)
    assert data.test.labels("Smiling").tolist() == [0]
    assert data.train.boxes is None  # the published ones belong to other images
    assert np.abs(data.train.images[:, 0, 0, 0].numpy() - np.array([0.0, 60.0])).max() < 4


@pytest.mark.parametrize("line", ["000002.jpg 1", "000002.jpg 1 1 1", "000002.jpg 1 0", "000005.jpg 1 1"])
def test_celeba_with_attributes_that_do_not_fit(celeba, line):
    replace_line(celeba / "list_attr_celeba.txt", "000002.jpg", line)
    with pytest.raises(DataError, match="list_attr_celeba.txt .* 1 or -1 for each of its 2 attributes of 000002.jpg"):
        load("celeba", celeba.parent, size=10)


def test_celeba_with_a_part_that_cannot_be(celeba):
    replace_line(celeba / "list_eval_partition.txt", "000002.jpg", "000002.jpg train")
    with pytest.raises(DataError, match="list_eval_partition.txt .*: it gives 000002.jpg 'train', not one of 0, 1, 2"):
        load("celeba", celeba.parent, size=10)


def test_celeba_without_one_of_its_tables(celeba):
    write_table(celeba / "list_attr_celeba.txt", ["4"])
    with pytest.raises(DataError, match="list_attr_celeba.txt .*: its second line needs the names of the attributes"):
        load("celeba", celeba.parent, size=10)
    (celeba / "list_attr_celeba.txt").unlink()
    with pytest.raises(DataError, match="list_attr_celeba.txt is missing"):
        load("celeba", celeba.parent, size=10)


@pytest.mark.parametrize("name", ["cub200", "aircraft", "dogs", "celeba"])
def test_damaged_images_are_left_out_on_demand(name, request, tmp_path):
    base = request.getfixturevalue(name)
    whole = load(name, tmp_path, size=10)
    assert not load(name, tmp_path, size=10, resident=False).train.resident
    damaged = next(base.rglob(whole.train.paths[0]))
    damaged.write_bytes(b"no image")
    with pytest.raises(DataError, match=damaged.name):
        load(name, tmp_path, size=10)
    with pytest.warns(UserWarning, match=f"left out 1 of {len(whole.train)}"):
        data = load(name, tmp_path, size=10, skip_corrupt=True)
    assert data.train.paths == whole.train.paths[1:]
    if name != "celeba":
        assert torch.equal(data.train.boxes, whole.train.boxes[1:])
