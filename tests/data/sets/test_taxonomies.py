"""ImageNet and iNaturalist on tiny copies of their layouts, made here."""

import json

import pytest
import torch

from fglib.data.sources import load
from fglib.errors import ConfigError, DataError

WNIDS = {"n03": "car", "n04": "cup", "n21": "lynx", "n22": "pug"}
IS_A = ["n0 n1", "n0 n2", "n1 n03", "n1 n04", "n2 n21", "n2 n22", "n22 n221", "n9 n22"]


@pytest.fixture
def imagenet(tmp_path, write_image):
    """The folder imagenet, sorted and without any coarse labels; red numbers the class, green the split."""
    for green, (split, count) in enumerate((("train", 3), ("val", 1))):
        for red, wnid in enumerate(WNIDS):
            for i in range(count):
                write_image(tmp_path / f"imagenet/{split}/{wnid}/{wnid}_{i}.JPEG", (60 * red, 90 * green, 0))
    return tmp_path / "imagenet"


def coarse_of(data):
    """{class: coarse class} as the hierarchy has it."""
    names = data.hierarchy.classes
    return {name: names["coarse"][parent] for name, parent in zip(names["class"], data.hierarchy.parents["class"])}


def test_imagenet_with_a_map(imagenet):
    (imagenet / "coarse127.txt").write_text("n03 thing of man\nn04 thing of man\nn21 beast\nn22 beast\nn99 beast\n")
    data = load("imagenet", imagenet.parent, size=8)
    assert data.hierarchy.levels == ("coarse", "class")
    assert data.hierarchy.classes == {"coarse": ("beast", "thing of man"), "class": tuple(WNIDS)}
    assert coarse_of(data) == {"n03": "thing of man", "n04": "thing of man", "n21": "beast", "n22": "beast"}
    for split, count, green in ((data.train, 3, 0), (data.test, 1, 90)):
        assert len(split) == 4 * count
        assert torch.bincount(split.labels("class")).tolist() == [count] * 4
        assert (split.images[:, 0, 0, 0] - 60 * split.labels("class")).abs().max() < 4  # JPEG is not exact
        assert (split.images[:, 1].float() - green).abs().max() < 4
    assert data.train.paths[0] == "n03/n03_0.JPEG"


def test_a_map_elsewhere_comes_first(imagenet, tmp_path):
    (imagenet / "coarse127.txt").write_text("".join(f"{wnid} all\n" for wnid in WNIDS))
    (imagenet / "mine.txt").write_text("".join(f"{wnid} {name[0]}\n" for wnid, name in WNIDS.items()))
    expected = {"n03": "c", "n04": "c", "n21": "l", "n22": "p"}
    assert coarse_of(load("imagenet", tmp_path, size=8, coarse_map="mine.txt")) == expected
    assert coarse_of(load("imagenet", tmp_path, size=8, coarse_map=str(imagenet / "mine.txt"))) == expected
    with pytest.raises(DataError, match="yours.txt is missing"):
        load("imagenet", tmp_path, coarse_map="yours.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("n03 a\nn21 b\n", r"coarse127.txt is not .*: 2 of the 4 classes are not in it: n04, n22$"),
        ("n03 a\nn04 a\nn21 b\nn22 b\nn03 b\n", "it gives n03 both 'a' and 'b'"),
        ("n03\nn04 a\n", "line 1 needs wnid and coarse name and is 'n03'"),
    ],
)
def test_a_map_that_does_not_fit(imagenet, content, message):
    (imagenet / "coarse127.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        load("imagenet", imagenet.parent, size=8)


def test_a_map_that_lacks_many_classes_names_a_few(tmp_path, write_image):
    for split in ("train", "val"):
        for i in range(7):
            write_image(tmp_path / f"imagenet/{split}/n{i}/0.JPEG")
    (tmp_path / "imagenet/coarse127.txt").write_text("n0 a\n")
    with pytest.raises(DataError, match=r"6 of the 7 classes are not in it: n1, n2, n3, n4, n5, \.\.\.$"):
        load("imagenet", tmp_path, size=8)


def test_imagenet_with_coarse_classes_from_wordnet(imagenet):
    (imagenet / "wordnet.is_a.txt").write_text("\n".join(IS_A))
    cut = coarse_of(load("imagenet", imagenet.parent, size=8, num_coarse=3))
    # n22 hangs below the root n9 too and is nearer to it; n1 and n2 are left of n0
    assert cut == {"n03": "n1", "n04": "n1", "n21": "n2", "n22": "n9"}
    finest = coarse_of(load("imagenet", imagenet.parent, size=8, num_coarse=4))
    assert len(set(finest.values())) == 4
    (imagenet / "coarse127.txt").write_text("".join(f"{wnid} all\n" for wnid in WNIDS))
    assert set(coarse_of(load("imagenet", imagenet.parent, size=8)).values()) == {"all"}  # the map comes first


def test_coarse_classes_that_wordnet_cannot_give(imagenet):
    (imagenet / "wordnet.is_a.txt").write_text("\n".join(IS_A))
    for wrong in (0, 5):
        with pytest.raises(
            ConfigError, match=f"num_coarse must lie between 1 and the number of classes, 4, got {wrong}"
        ):
            load("imagenet", imagenet.parent, size=8, num_coarse=wrong)
    with pytest.raises(ConfigError, match="got 127"):
        load("imagenet", imagenet.parent, size=8)
    (imagenet / "wordnet.is_a.txt").write_text("n0 n1\nn1 n03\nn0 n21\nn0 n22")
    with pytest.raises(DataError, match="wordnet.is_a.txt is not .*: 1 of the 4 classes are not in it: n04"):
        load("imagenet", imagenet.parent, size=8, num_coarse=2)


def test_without_coarse_labels_the_error_says_what_to_put_where(imagenet):
    with pytest.raises(DataError) as caught:
        load("imagenet", imagenet.parent, size=8)
    for part in (str(imagenet), "coarse127.txt", "<wnid> <coarse name>", "wordnet.is_a.txt", "<parent> <child>"):
        assert part in str(caught.value)


@pytest.mark.parametrize("wrong", ["missing", "flat", "deep"])
def test_a_split_that_is_not_sorted_into_classes(imagenet, write_image, wrong):
    if wrong != "flat":
        (imagenet / "val").rename(imagenet / "before")
    if wrong == "flat":
        write_image(imagenet / "val/ILSVRC2012_val_00000001.JPEG")
    if wrong == "deep":
        write_image(imagenet / "val/val/n03/0.JPEG")
    with pytest.raises(DataError, match=r"val must hold a folder .*datasets.ImageNet\('.*imagenet', 'val'\) makes it"):
        load("imagenet", imagenet.parent, size=8)


RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
SPECIES = {  # category: its ranks and name; the genus Oenanthe is one of birds and one of plants
    5: ("Animalia", "Chordata", "Aves", "Passeriformes", "Muscicapidae", "Oenanthe", "Oenanthe oenanthe"),
    7: ("Plantae", "Tracheophyta", "Magnoliopsida", "Apiales", "Apiaceae", "Oenanthe", "Oenanthe crocata"),
    2: ("Animalia", "Chordata", "Aves", "Passeriformes", "Corvidae", "Corvus", "Corvus corax"),
}


@pytest.fixture(params=[2018, 2019])
def year(request):
    return request.param


@pytest.fixture
def inaturalist(tmp_path, write_image, year):
    """The folder of one competition; images of category c have red 30 * c, table entries come in no order."""
    base = tmp_path / f"inaturalist{year}"
    for split, numbers in (("train", (4, 1, 3)), ("val", (2,))):
        images, annotations = [], []
        for category in SPECIES:
            for number in numbers:
                file = f"train_val{year}/Any/{category}/{number}.png"
                write_image(base / file, (30 * category, 0, 0), (12, 10))
                identity = 100 * number + category
                images.append({"id": identity, "file_name": file, "width": 12, "height": 10, "rights_holder": "x"})
                annotations.append({"id": identity, "image_id": identity, "category_id": category})
        table = {"info": {"year": year}, "images": images, "annotations": annotations[::-1], "licenses": [{"id": 1}]}
        (base / f"{split}{year}.json").write_text(json.dumps(table))
    categories = [{"id": c, "name": names[-1], **dict(zip(RANKS, names))} for c, names in SPECIES.items()]
    (base / "categories.json").write_text(json.dumps(categories))
    return base


def check_inaturalist(data):
    hierarchy = data.hierarchy
    assert hierarchy.levels == (*RANKS, "species")
    assert [hierarchy.num_classes(level) for level in hierarchy.levels] == [2, 2, 2, 2, 3, 3, 3]
    assert hierarchy.nested
    assert hierarchy.classes["kingdom"] == ("Animalia", "Plantae")
    assert hierarchy.classes["phylum"] == ("Animalia/Chordata", "Plantae/Tracheophyta")
    assert sum(name.endswith("/Oenanthe") for name in hierarchy.classes["genus"]) == 2
    for split, count in ((data.train, 3), (data.test, 1)):
        assert len(split) == 3 * count
        for i, red in enumerate(split.images[:, 0, 0, 0].tolist()):
            for depth, level in enumerate(hierarchy.levels):
                shown = hierarchy.classes[level][split.labels(level)[i]]
                assert shown == "/".join(SPECIES[red // 30][: depth + 1])
    assert data.train.paths == tuple(f"Any/{category}/{number}.png" for category in (2, 5, 7) for number in (1, 3, 4))


def test_inaturalist_as_the_competition_gives_it(inaturalist, year):
    check_inaturalist(load(inaturalist.name, inaturalist.parent, size=8))


def test_inaturalist_where_torchvision_puts_the_images(inaturalist, year):
    (inaturalist / f"train_val{year}").rename(inaturalist / str(year))
    check_inaturalist(load(inaturalist.name, inaturalist.parent, size=8))


@pytest.mark.parametrize("name", ["categories.json", "train{}.json", "val{}.json"])
def test_inaturalist_without_one_of_its_tables(inaturalist, year, name):
    path = inaturalist / name.format(year)
    path.rename(inaturalist / "elsewhere")
    with pytest.raises(DataError, match=f"{path.name} is missing"):
        load(inaturalist.name, inaturalist.parent, size=8)
    path.write_text('{"images": [')
    with pytest.raises(DataError, match=f"{path.name} is not the table it should be: it is not JSON"):
        load(inaturalist.name, inaturalist.parent, size=8)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("categories.json", [{"id": 5, "name": "Oenanthe oenanthe"}]),
        ("categories.json", {"categories": []}),
        ("categories.json", [{"id": 5, **dict.fromkeys(RANKS, "x"), "family": None, "name": "x"}]),
        ("val{}.json", {"images": []}),
        ("val{}.json", [1, 2]),
        ("val{}.json", {"images": [{"file_name": "x/1.png"}], "annotations": []}),
        ("val{}.json", {"images": [{"id": 1, "file_name": "x/1.png"}], "annotations": []}),
        (
            "val{}.json",
            {"images": [{"id": 1, "file_name": "x/1.png"}], "annotations": [{"image_id": 1, "category_id": 99}]},
        ),
    ],
)
def test_inaturalist_tables_of_another_content(inaturalist, year, name, content):
    path = inaturalist / name.format(year)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"{path.name} is not the table it should be: it needs"):
        load(inaturalist.name, inaturalist.parent, size=8)


def test_an_image_that_is_not_there_is_named(inaturalist, year):
    (inaturalist / f"train_val{year}/Any/5/2.png").unlink()
    with pytest.raises(DataError, match=f"cannot read .*train_val{year}/Any/5/2.png"):
        load(inaturalist.name, inaturalist.parent, size=8)


@pytest.fixture
def inaturalist2017(tmp_path, write_image):
    """Two supercategories with a species of the same name in both; images of category c have red 60 * c."""
    base = tmp_path / "inaturalist2017"
    names = {0: ("Plantae", "Ficus alba"), 1: ("Mollusca", "Ficus alba"), 2: ("Mollusca", "Helix nux")}
    categories = [{"id": c, "supercategory": above, "name": name} for c, (above, name) in names.items()]
    for split, numbers in (("train", (2, 1)), ("val", (3,))):
        images, annotations = [], []
        for c, path in names.items():
            for number in numbers:
                file = f"train_val_images/{'/'.join(path)}/{number}.png"
                write_image(base / file, (60 * c, 0, 0), (12, 10))
                images.append({"id": 10 * c + number, "file_name": file, "width": 12, "height": 10})
                annotations.append({"id": 7, "image_id": 10 * c + number, "category_id": c})
        table = {"images": images, "categories": categories, "annotations": annotations[::-1]}
        (base / f"{split}2017.json").write_text(json.dumps(table))
    return base


@pytest.mark.parametrize("layout", ["published", "torchvision", "zip in a folder"])
def test_inaturalist2017(inaturalist2017, layout):
    if layout == "torchvision":
        (inaturalist2017 / "train_val_images").rename(inaturalist2017 / "2017")
    if layout == "zip in a folder":
        (inaturalist2017 / "train_val2017").mkdir()
        for split in ("train", "val"):
            (inaturalist2017 / f"{split}2017.json").rename(inaturalist2017 / f"train_val2017/{split}2017.json")
    data = load("inaturalist2017", inaturalist2017.parent, size=8)
    assert data.hierarchy.levels == ("supercategory", "species")
    assert data.hierarchy.classes["supercategory"] == ("Mollusca", "Plantae")
    assert data.hierarchy.classes["species"] == ("Mollusca/Ficus alba", "Mollusca/Helix nux", "Plantae/Ficus alba")
    assert data.hierarchy.parents["species"] == (0, 0, 1)
    assert data.train.paths[:3] == (
        "Mollusca/Ficus alba/1.png",
        "Mollusca/Ficus alba/2.png",
        "Mollusca/Helix nux/1.png",
    )
    for split, count in ((data.train, 2), (data.test, 1)):
        assert torch.bincount(split.labels("species")).tolist() == [count] * 3
        assert ((split.images[:, 0, 0, 0] / 60).int() == torch.tensor([1, 2, 0])[split.labels("species")]).all()


@pytest.mark.parametrize("content", [{"images": []}, {"categories": [{"id": 1, "name": "Ficus alba"}]}, [1]])
def test_inaturalist2017_without_supercategories(inaturalist2017, content):
    (inaturalist2017 / "train2017.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="train2017.json is not .*: it needs a list of categories with id, super"):
        load("inaturalist2017", inaturalist2017.parent, size=8)
