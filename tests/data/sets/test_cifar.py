"""The published files of CIFAR-100, made here; that they are read as the folders are is tested in test_readers.py."""

import io
import os
import pickle
import struct

import numpy as np
import pytest

from fglib.data.sets.cifar import read_cifar100
from fglib.errors import DataError

NAMES = {"fine_label_names": ["oak", "palm", "ray"], "coarse_label_names": ["fish", "trees"]}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(train, meta, protocol) stores the files, with changes to what they hold, and reads them."""
    from torchvision.datasets import CIFAR100

    monkeypatch.setattr(CIFAR100, "train_list", [["train", None]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", None]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": None})
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()

    def store(train=None, meta=None, protocol=pickle.DEFAULT_PROTOCOL):
        data = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
        whole = {"data": data, "fine_labels": [2, 0], "coarse_labels": [0, 1], "filenames": ["a.png", "b.png"]}
        (folder / "meta").write_bytes(dumps(NAMES | (meta or {}), protocol))
        (folder / "test").write_bytes(dumps(whole, protocol))
        train = dumps(whole | (train or {}), protocol) if not isinstance(train, bytes) else train
        (folder / "train").write_bytes(train)
        return read_cifar100(tmp_path)

    return store


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as strings of Python 2, as the published files have them."""

    def save_string(self, value):
        value = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

    dispatch = {**pickle._Pickler.dispatch, str: save_string, bytes: save_string}


def dumps(value, protocol):
    if protocol > 2:
        return pickle.dumps(value, protocol)
    data = io.BytesIO()
    Python2Pickler(data, 2).dump(value)
    return data.getvalue()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_images_and_names(write, protocol):
    images, paths = write(protocol=protocol)
    for own, names in zip(images, paths):
        assert own.shape == (2, 3, 32, 32)
        assert own.flatten().tolist() == [i % 256 for i in range(2 * 3072)]  # planes of red, green and blue, by rows
        assert names == [("fish", "ray"), ("trees", "oak")]


class Planted:
    """What unpickles by calling a function."""

    def __init__(self, call, *arguments):
        self.parts = call, arguments

    def __reduce__(self):
        return self.parts


def test_a_planted_pickle_is_not_run(write, tmp_path):
    target = tmp_path / "planted"
    for planted in (
        Planted(os.system, f"touch {target}"),
        Planted(os.mkdir, str(target)),
        Planted(eval, f"open({str(target)!r}, 'w')"),
        Planted(np.memmap, str(target), np.uint8, "w+", 0, 9),
    ):
        with pytest.raises(DataError, match=r"train is not a file of CIFAR-100 \(it calls for [\w.]+\)"):
            write(train={"filenames": planted})
        assert not target.exists()


@pytest.mark.parametrize(
    ("train", "meta"),
    [
        ({"fine_labels": [2, 3]}, {}),
        ({"fine_labels": [2, -1]}, {}),
        ({"fine_labels": [2]}, {}),
        ({"fine_labels": "no"}, {}),
        ({"fine_labels": [2, 0, 0], "coarse_labels": [0, 1, 1]}, {}),
        ({"fine_labels": [], "coarse_labels": []}, {}),
        ({"data": [[1] * 3072] * 2}, {}),
        ({"data": np.zeros((2, 3072))}, {}),
        ({"data": np.zeros((2, 3071), np.uint8)}, {}),
        ({}, {"fine_label_names": None}),
        ({}, {"fine_label_names": [1, 2, 3]}),
        ({}, {"coarse_label_names": ["fish"]}),
    ],
)
def test_what_does_not_fit_is_an_error(write, train, meta):
    with pytest.raises(DataError, match=r"the CIFAR-100 files in .*-python are damaged \(.+\); fetch them again"):
        write(train=train, meta=meta)


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"data": 1})[:-5], pickle.dumps([1])])
def test_damaged_files(write, content):
    with pytest.raises(DataError, match="cifar-100-python"):
        write(train=content)


def test_a_file_with_another_checksum(write, monkeypatch):
    from torchvision.datasets import CIFAR100

    write()
    monkeypatch.setattr(CIFAR100, "train_list", [["train", "0" * 32]])
    with pytest.raises(DataError, match="are damaged .train is missing or has another checksum.; fetch them again"):
        write()
