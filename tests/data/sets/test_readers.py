"""Public layouts on tiny copies made here, and the real sets where they are at hand."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from fglib.data.sets.readers import OMNIGLOT_SMALL
from fglib.data.sources import load
from fglib.errors import ConfigError, DataError


def test_digits():
    data = load("digits")
    assert (len(data.train), len(data.test)) == (1257, 540)
    assert data.train.images.shape[1:] == (3, 16, 16)
    assert data.train.images.min() == 0
    assert data.train.images.max() == 255
    groups = {"loops": {0, 6, 8, 9}, "strokes": {1, 4, 7}, "curves": {2, 3, 5}}
    for split in (data.train, data.test):
        for group, digit in zip(split.labels("group").tolist(), split.labels("digit").tolist()):
            assert digit in groups[data.hierarchy.classes["group"][group]]
        share = torch.bincount(split.labels("digit")) / len(split)
        assert (share - 0.1).abs().max() < 0.004  # stratified
    assert torch.equal(load("digits").train.images, data.train.images)


def test_digits_of_eight_pixels_are_as_stored():
    from sklearn.datasets import load_digits

    data = load("digits", size=8)
    stored = {tuple(np.rint(image.ravel() * 255 / 16).astype(int)) for image in load_digits().images}
    read = {tuple(image[0].flatten().tolist()) for split in (data.train, data.test) for image in split.images}
    assert read == stored


@pytest.fixture
def omniglot(tmp_path):
    """draw(place, alphabets): one character of 20 drawings in each alphabet, ink in column = drawer."""

    def draw(place, alphabets):
        for alphabet in alphabets:
            folder = tmp_path / place / alphabet / "character01"
            folder.mkdir(parents=True)
            for drawer in range(1, 21):
                paper = np.ones((21, 21), dtype=bool)
                paper[:, drawer] = False
                Image.fromarray(paper).save(folder / f"0001_{drawer:02d}.png")
        return tmp_path

    return draw


def check_omniglot(data, alphabets):
    assert data.hierarchy.classes["alphabet"] == tuple(sorted(alphabets))
    assert data.hierarchy.classes["character"] == tuple(f"{a}/character01" for a in sorted(alphabets))
    assert (len(data.train), len(data.test)) == (15 * len(alphabets), 5 * len(alphabets))
    for split, drawers in ((data.train, range(1, 16)), (data.test, range(16, 21))):
        columns = split.images[:, 0].float().mean(dim=1)
        assert columns.argmax(dim=1).tolist() == list(drawers) * len(alphabets)
        assert columns.max() == 255  # white ink
        assert columns.min() == 0  # on black


def test_omniglot_in_two_small_sets_that_share_alphabets(omniglot):
    omniglot("omniglot/images_background_small1", OMNIGLOT_SMALL[:5])
    root = omniglot("omniglot/images_background_small2", OMNIGLOT_SMALL[3:])
    check_omniglot(load("omniglot", root, size=21), OMNIGLOT_SMALL)


@pytest.mark.parametrize("place", ["omniglot/images_background", "omniglot-py/images_background"])
def test_omniglot_in_the_layout_of_all_alphabets(omniglot, place):
    alphabets = (*OMNIGLOT_SMALL, "Bengali")
    root = omniglot(place, alphabets)
    check_omniglot(load("omniglot", root, size=21), OMNIGLOT_SMALL)
    check_omniglot(load("omniglot", root, size=21, part="background"), alphabets)


def test_incomplete_omniglot(omniglot):
    root = omniglot("omniglot/images_background_small1", OMNIGLOT_SMALL[:6])
    with pytest.raises(DataError, match="incomplete .*: alphabets Sanskrit, Tagalog"):
        load("omniglot", root)
    with pytest.raises(ConfigError, match="unknown part 'big'"):
        load("omniglot", root, part="big")


CIFAR = {("fish", "ray"): 0, ("trees", "oak"): 100, ("trees", "palm"): 200}


@pytest.fixture
def cifar_folders(tmp_path, write_image):
    for path, red in CIFAR.items():
        for split, count in (("train", 4), ("test", 2)):
            for i in range(count):
                write_image(tmp_path.joinpath("cifar100", split, *path, f"{i}.png"), (red, i, 0), (32, 32))
    return tmp_path


@pytest.fixture
def cifar_pickles(tmp_path, monkeypatch):
    """The same images in torchvision's files, which it knows by the checksums of the published ones."""
    from torchvision.datasets import CIFAR100

    names = {"fine_label_names": ["oak", "palm", "ray"], "coarse_label_names": ["fish", "trees"]}
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    sums = {}

    def store(file, content):
        pickled = pickle.dumps(content)
        (folder / file).write_bytes(pickled)
        sums[file] = hashlib.md5(pickled).hexdigest()

    store("meta", names)
    for split, count in (("train", 4), ("test", 2)):
        entries = {"data": [], "fine_labels": [], "coarse_labels": []}
        for i in range(count):
            for (coarse, fine), red in CIFAR.items():
                entries["data"].append(np.repeat(np.array([red, i, 0], dtype=np.uint8), 32 * 32))
                entries["fine_labels"].append(names["fine_label_names"].index(fine))
                entries["coarse_labels"].append(names["coarse_label_names"].index(coarse))
        entries["data"] = np.stack(entries["data"])
        store(split, entries)
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": sums["meta"]})
    return tmp_path


@pytest.mark.parametrize("layout", ["cifar_folders", "cifar_pickles"])
@pytest.mark.parametrize("size", [32, 16])
def test_cifar_in_both_layouts(layout, size, request):
    root = request.getfixturevalue(layout)
    data = load("cifar100", root, size=size)
    assert data.hierarchy.classes == {"superclass": ("fish", "trees"), "class": ("oak", "palm", "ray")}
    assert data.hierarchy.parents == {"class": (1, 1, 0)}
    for split, count in ((data.train, 12), (data.test, 6)):
        assert split.images.shape == (count, 3, size, size)
        red = torch.tensor([100, 200, 0])[split.labels("class")]
        assert torch.equal(split.images[:, 0].long(), red[:, None, None].expand(-1, size, size))
    few = load("cifar100", root, per_class=2)
    assert torch.bincount(few.train.labels("class")).tolist() == [2, 2, 2]
    assert few.train.images[:, 1].unique().tolist() == [0, 1]  # the first ones
    assert len(few.test) == 6
    with pytest.raises(ConfigError, match="per_class must be at least 1"):
        load("cifar100", root, per_class=0)


def test_damaged_cifar_pickles(tmp_path):
    (tmp_path / "cifar-100-python").mkdir()
    with pytest.raises(DataError, match="cifar-100-python are damaged"):
        load("cifar100", tmp_path)


def test_cifar_without_test_folder(cifar_folders):
    (cifar_folders / "cifar100/test").rename(cifar_folders / "cifar100/val")
    with pytest.raises(DataError, match="no folder 'test'"):
        load("cifar100", cifar_folders)


def test_cub_boxes_follow_the_crop(tmp_path, write_image):
    rows = ["path,split,species,genus,family,order,box_x,box_y,box_w,box_h,width,height"]
    for name, split, box, (width, height) in (
        ("b/1.png", "train", (30, 10, 40, 20), (100, 50)),
        ("a/2.png", "test", (0, 30, 50, 60), (50, 100)),
        ("a/1.png", "train", (5, 6, 20, 10), (50, 50)),
    ):
        write_image(tmp_path / "CUB50/images" / name, size=(width, height))
        rows.append(f"{name},{split},s{name[0]},g,f,o,{','.join(map(str, box))},{width},{height}")
    (tmp_path / "CUB50/labels.csv").write_text("\n".join(rows))
    data = load("cub50", tmp_path, size=25)
    assert data.hierarchy.levels == ("order", "family", "genus", "species")
    assert data.train.paths == ("a/1.png", "b/1.png")
    # half the size; from the wide image 25 columns are cut on either side, from the tall one 25 rows
    assert data.train.boxes.tolist() == [[2.5, 3, 12.5, 8], [2.5, 5, 22.5, 15]]
    assert data.test.boxes.tolist() == [[0, 2.5, 25, 25]]


def test_a_cub_table_without_its_columns(tmp_path):
    (tmp_path / "CUB50").mkdir()
    with pytest.raises(DataError, match="labels.csv is missing"):
        load("cub50", tmp_path)
    (tmp_path / "CUB50/labels.csv").write_text("path,split\na.jpg,train\n")
    with pytest.raises(DataError, match="labels.csv is not the table it should be: .*species"):
        load("cub50", tmp_path)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("10,5,0,20,50,50", r"gives a.png \(50 x 50 pixels\) the box .* is empty or reversed"),
        ("50,5,10,20,50,50", "gives a.png .* lies outside the image"),
        ("10,5,wide,20,50,50", "it needs 6 numbers for a.png .*wide"),
    ],
)
def test_cub_boxes_that_cannot_be(tmp_path, box, message):
    (tmp_path / "CUB50").mkdir()
    head = "path,split,species,genus,family,order,box_x,box_y,box_w,box_h,width,height"
    (tmp_path / "CUB50/labels.csv").write_text(f"{head}\na.png,train,s,g,f,o,{box}\n")
    with pytest.raises(DataError, match=f"labels.csv .*{message}"):
        load("cub50", tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.png,train", "a.png,test"], "it lists a.png twice"),
        (["a.png,train", "b.png,val"], "the split of each image is train or test"),
        (["a.png,train", "b.png"], "line 3 has 11 cells, not 12"),
    ],
)
def test_cub_rows_that_cannot_be(tmp_path, rows, message):
    (tmp_path / "CUB50").mkdir()
    head = "path,split,species,genus,family,order,box_x,box_y,box_w,box_h,width,height"
    rows = [f"{row},s,g,f,o,1,1,9,9,50,50" for row in rows]
    (tmp_path / "CUB50/labels.csv").write_text("\n".join([head, *rows]))
    with pytest.raises(DataError, match=f"labels.csv is not the table it should be: {message}"):
        load("cub50", tmp_path)


def test_pets(tmp_path, write_image):
    base = tmp_path / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    for split, rows in (
        ("trainval", ["# name class species breed", "Abyssinian_100 1 1 1", "english_setter_2 2 2 1"]),
        ("test", ["english_setter_7 2 2 1", "Abyssinian_9 1 1 1"]),
    ):
        (base / f"annotations/{split}.txt").write_text("\n".join(rows) + "\n")
        for row in rows:
            if row[0] != "#":
                write_image(base / "images" / (row.split()[0] + ".jpg"), size=(30, 20))
    data = load("pets", tmp_path, size=8)
    assert data.hierarchy.classes == {"species": ("cat", "dog"), "breed": ("Abyssinian", "english_setter")}
    assert data.hierarchy.parents == {"breed": (0, 1)}
    assert data.train.paths == ("Abyssinian_100.jpg", "english_setter_2.jpg")
    assert data.test.labels("species").tolist() == [0, 1]
    assert data.test.images.shape == (2, 3, 8, 8)
    (base / "annotations/test.txt").write_text("parrot_1 3 3 1\n")
    with pytest.raises(DataError, match="parrot_1 in .*test.txt is neither species 1"):
        load("pets", tmp_path, size=8)
    (base / "annotations/test.txt").unlink()
    with pytest.raises(DataError, match="annotations/test.txt is missing"):
        load("pets", tmp_path, size=8)


def test_sop_is_split_at_random_by_the_papers_share(tmp_path, write_image):
    base = tmp_path / "Stanford_Online_Products"
    names = [f"{kind}_final/{product}{i}_0.JPG" for kind, product in (("mug", 11), ("chair", 22)) for i in range(15)]
    for name in names:
        write_image(base / name, size=(12, 10))
    for part, start in (("train", 0), ("test", 15)):
        rows = ["image_id class_id super_class_id path"]
        rows += [f"{i + 1} {i // 5 + 1} {1 + start // 15} {names[i]}" for i in range(start, start + 15)]
        (base / f"Ebay_{part}.txt").write_text("\n".join(rows) + "\n")
    data = load("sop", tmp_path, size=8)
    assert data.hierarchy.classes["super"] == ("chair", "mug")
    assert data.hierarchy.classes["product"] == tuple(f"{k:05d}" for k in range(1, 7))
    assert data.hierarchy.parents["product"] == (1, 1, 1, 0, 0, 0)
    assert (len(data.train), len(data.test)) == (20, 10)  # 80,000 of 120,053
    assert sorted(data.train.paths + data.test.paths) == sorted(names)
    assert len(data.train.labels("super").unique()) == len(data.test.labels("super").unique()) == 2
    assert load("sop", tmp_path, size=8).test.paths == data.test.paths


def test_a_catalogue_of_ones_own(tmp_path, write_image):
    for split, count in (("train", 5), ("test", 1)):
        for where in ("bags/tote", "shoes/boot"):
            for i in range(count):
                write_image(tmp_path / split / where / f"{i}.png")
    data = load("folder", path=tmp_path, levels=["kind", "model"], size=4)
    assert data.hierarchy.levels == ("kind", "model")
    assert (len(data.train), len(data.test)) == (10, 2)
    assert len(load("folder", path=str(tmp_path), test_fraction=0.5).test) == 2  # the folder test comes first


def test_a_catalogue_without_a_test_split(tmp_path, write_image):
    for i in range(10):
        write_image(tmp_path / "train" / "ab"[i % 2] / f"{i}.png")
    with pytest.raises(DataError, match="no folder test; add test/<class>/... or give a test_fraction"):
        load("folder", path=tmp_path)
    for path in (tmp_path, tmp_path / "train"):
        data = load("folder", path=path, test_fraction=0.2)
        assert (len(data.train), len(data.test)) == (8, 2)
        assert data.test.labels("level1").tolist() == [0, 1]


def test_a_catalogue_whose_splits_differ_in_depth(tmp_path, write_image):
    for where in ("train/bags/tote", "test/bags"):
        write_image(tmp_path / where / "0.png")
    with pytest.raises(DataError, match="images lie 2 class folders deep in train, 1 in test; make them equal"):
        load("folder", path=tmp_path)


@pytest.mark.parametrize("levels", [[], ["a"], ["a", "a"], ["a", "b", "c"], ["a", None], ["everything", "a"]])
def test_levels_of_a_catalogue_must_fit(tmp_path, write_image, levels):
    for split in ("train", "test"):
        write_image(tmp_path / split / "bags/tote/0.png")
    with pytest.raises(ConfigError, match="levels must be 2 different names, coarse to fine"):
        load("folder", path=tmp_path, levels=levels)


@pytest.mark.parametrize("path", ["nowhere", "nowhere/\0", "x" * 300])
def test_a_catalogue_that_is_not_there(tmp_path, path):
    for fraction in (None, 0.5):
        with pytest.raises(DataError, match="there is no folder or zip archive .*; check the path"):
            load("folder", path=str(tmp_path / path), test_fraction=fraction)


def test_omniglot_with_a_file_of_another_name(omniglot):
    root = omniglot("omniglot/images_background", OMNIGLOT_SMALL)
    path = root / "omniglot/images_background/Greek/character01/0001_01.png"
    path.rename(path.with_name("alpha.png"))
    with pytest.raises(DataError, match="Greek/character01/alpha.png is not called <id>_<drawer>"):
        load("omniglot", root, size=21)


def test_real_omniglot(need_data):
    data = load("omniglot", need_data("omniglot"), size=8)
    assert (len(data.train), len(data.test)) == (3630, 1210)
    assert [data.hierarchy.num_classes(level) for level in ("alphabet", "character")] == [8, 242]
    assert (torch.bincount(data.train.labels("character")) == 15).all()
    assert (torch.bincount(data.test.labels("character")) == 5).all()


def test_real_cifar100_has_all_its_files(need_data):
    data = load("cifar100", need_data("cifar100"), per_class=2, resident=False)
    assert [data.hierarchy.num_classes(level) for level in ("superclass", "class")] == [20, 100]
    assert (torch.bincount(torch.tensor(data.hierarchy.parents["class"])) == 5).all()
    assert (len(data.train), len(data.test)) == (200, 10_000)
    assert data.train.images[0].shape == (3, 32, 32)


def test_real_cub50(need_data):
    data = load("cub50", need_data("cub50"), resident=False)
    assert (len(data.train), len(data.test)) == (1500, 1389)
    assert [data.hierarchy.num_classes(level) for level in data.hierarchy.levels] == [9, 20, 36, 50]
    for split in (data.train, data.test):
        assert (split.boxes[:, 2:] - split.boxes[:, :2]).min() > 4  # every bird is in its crop
        assert split.boxes.min() >= 0
        assert split.boxes.max() <= 64
