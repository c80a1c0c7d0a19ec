from pathlib import Path

import numpy as np
import pytest

from fglib.data.sources import SOURCES, load, status
from fglib.errors import ConfigError, DataError
from fglib.storage import data_root

BOXED = ("digits", "patches", "nested_patches", "parts", "part_attributes", "interpolations")
STORED = (
    "omniglot",
    "cifar100",
    "cub50",
    "pets",
    "sop",
    "imagenet",
    "inaturalist2017",
    "inaturalist2018",
    "inaturalist2019",
    "grocery",
    "flowers102",
    "cars",
    "food101",
    "cub200",
    "aircraft",
    "dogs",
    "celeba",
)


def test_every_set_is_tested_here():
    assert set(SOURCES) == {*BOXED, *STORED, "folder"}


@pytest.mark.parametrize("name", BOXED)
def test_what_the_table_says_is_what_one_gets(name):
    data = load(name)
    assert data.name == name
    assert data.hierarchy.levels == data.train.visible == SOURCES[name].levels
    assert data.train.images.shape[2:] == (SOURCES[name].size,) * 2
    assert data.test.images.shape[1:] == data.train.images.shape[1:]
    assert SOURCES[name].what in data.note
    assert status(name) == (True, None, SOURCES[name].how)


@pytest.mark.parametrize("name", STORED)
def test_missing_data_say_which_where_and_how(name, tmp_path):
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    message = str(caught.value)
    for part in (f"'{name}'", str(tmp_path), SOURCES[name].places[0], SOURCES[name].how):
        assert part in message
    assert status(name, tmp_path) == (False, None, SOURCES[name].how)
    (tmp_path / SOURCES[name].places[-1]).mkdir(parents=True)
    assert status(name, tmp_path) == (True, tmp_path / SOURCES[name].places[-1], SOURCES[name].how)


def test_the_root_is_the_argument_else_the_variable_else_the_cache(monkeypatch):
    monkeypatch.setenv("FGLIB_DATA", "/from/variable")
    assert data_root("~/here") == Path.home() / "here"
    assert data_root() == Path("/from/variable")
    monkeypatch.setenv("FGLIB_DATA", "")
    assert data_root() == Path.home() / ".cache/fglib"
    monkeypatch.delenv("FGLIB_DATA")
    assert data_root() == Path.home() / ".cache/fglib"


def test_numbers_of_numpy_are_numbers():
    data = load("patches", size=np.int64(32), images=np.int32(12), big=np.uint8(3), small=5)
    assert data.train.images.shape == (12, 3, 32, 32)
    assert len(load("nested_patches", images=40, noise=np.float32(0.5)).train) == 40


def test_options_reach_the_reader():
    data = load("patches", size=32, images=12, big=3, small=5, seed=1)
    assert len(data.train) == len(data.test) == 12
    assert data.hierarchy.num_classes("small") == 5
    assert data.train.images.shape == (12, 3, 32, 32)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cifar10", {}, "unknown data set 'cifar10'; did you mean 'cifar100'"),
        ("patches", {"image": 3}, "unknown option 'image' in data set 'patches'; did you mean 'images'"),
        ("digits", {"seed": 3}, "unknown option 'seed' in data set 'digits'. Valid: none"),
        ("patches", {"images": "many"}, "option 'images' of data set 'patches' must be int, not 'many'"),
        ("nested_patches", {"noise": [1]}, r"option 'noise' .* must be int \| float, not \[1\]"),
        ("cifar100", {"per_class": 1.5}, r"option 'per_class' .* must be int \| None, not 1.5"),
        ("imagenet", {"num_coarse": "127"}, "option 'num_coarse' of data set 'imagenet' must be int, not '127'"),
        ("inaturalist2018", {"year": 2019}, "unknown option 'year' in data set 'inaturalist2018'"),
        ("folder", {}, "data set 'folder' needs the option 'path'"),
        ("digits", {"size": 0}, "size must be a positive number of pixels up to 10,000, got 0"),
        ("digits", {"size": "16"}, "size must be a positive number of pixels up to 10,000, got '16'"),
        ("digits", {"size": True}, "size must be a positive number .* got True"),
        ("digits", {"size": 8.0}, "size must be a positive number .* got 8.0"),
        ("digits", {"size": 10_001}, "size must be a positive number of pixels up to 10,000, got 10001"),
        ("patches", {"images": True}, "option 'images' of data set 'patches' must be int, not True"),
        (
            "patches",
            {"images": 10**7 + 1},
            "option 'images' of data set 'patches' must be at most 10,000,000, not",
        ),
        ("patches", {"images": 10**30}, "option 'images' of data set 'patches' must be int, not 10"),
        ("patches", {"images": 10**7}, "10,000,000 images of 64 pixels for data set 'patches' take more than 20 GB"),
        ("patches", {"seed": 2**63}, "option 'seed' .* must be int, not 9223372036854775808"),
        ("nested_patches", {"noise": float("nan")}, r"option 'noise' .* must be int \| float, not nan"),
        ("nested_patches", {"noise": np.float64("inf")}, r"option 'noise' .* must be int \| float, not inf"),
        ("folder", {"path": ""}, r"option 'path' of data set 'folder' must be str \| .*Path, not ''"),
        ("folder", {"path": ".", "test_fraction": float("nan")}, "option 'test_fraction' .* not nan"),
        ("folder", {"path": ".", "skip_corrupt": 1}, "option 'skip_corrupt' .* must be bool, not 1"),
        (["digits"], {}, "unknown data set"),
    ],
)
def test_wrong_names_and_options(name, options, message):
    with pytest.raises(ConfigError, match=message):
        load(name, **options)


@pytest.mark.parametrize("name", [name for name in STORED if SOURCES[name].fetch])
def test_a_download_that_fails_says_what_else_to_do(name, tmp_path, monkeypatch):
    import torchvision

    def fail(root, download, **arguments):
        assert (root, download) == (str(tmp_path / SOURCES[name].into), True)
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", lambda address, folder: None)
    monkeypatch.setattr(torchvision.datasets, SOURCES[name].fetch[0], fail)
    with pytest.raises(DataError, match=f"could not download '{name}' into .*no network"):
        load(name, tmp_path, download=True)


def test_a_download_is_read_when_it_has_come(tmp_path, monkeypatch, write_image):
    import torchvision

    def fetch(root, download):
        for split in ("train", "test"):
            write_image(Path(root) / "cifar100" / split / "fish/ray/0.png", size=(32, 32))

    monkeypatch.setattr(torchvision.datasets, "CIFAR100", fetch)
    assert len(load("cifar100", tmp_path, download=True).train) == 1


def test_a_set_that_torchvision_does_not_know_comes_as_an_archive(tmp_path, monkeypatch):
    import torchvision

    calls = []
    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", lambda *call: calls.append(call))
    with pytest.raises(DataError, match="classes.csv is missing"):  # nothing was unpacked here
        load("grocery", tmp_path, download=True)
    assert calls == [(SOURCES["grocery"].archives[0], str(tmp_path))]


def test_tables_that_torchvision_leaves_out_come_before_its_images(tmp_path, monkeypatch):
    import torchvision

    calls = []

    def images(root, download, version):
        calls.append((version, root))
        (Path(root) / version).mkdir(parents=True)

    monkeypatch.setattr(torchvision.datasets, "INaturalist", images)
    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", lambda *call: calls.append(call))
    with pytest.raises(DataError, match="inaturalist2019/categories.json is missing"):  # nothing was unpacked here
        load("inaturalist2019", tmp_path, download=True)
    names = [address.split("/")[-2:] for address, _ in calls[:3]]
    assert names == [["2019", f"{table}.json.tar.gz"] for table in ("train2019", "val2019", "categories")]
    assert calls[3] == ("2019", str(tmp_path / "inaturalist2019"))
    assert {folder for _, folder in calls} == {str(tmp_path / "inaturalist2019")}


@pytest.mark.parametrize("name", ["cub50", "sop", "imagenet", "cars", "cub200", "dogs"])
def test_what_cannot_be_downloaded_says_how_to_get_it(name, tmp_path):
    with pytest.raises(DataError, match="to get it: "):
        load(name, tmp_path, download=True)
