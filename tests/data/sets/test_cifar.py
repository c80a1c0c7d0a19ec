"""The published files of CIFAR-100, made here; that they are read as the folders are is tested in test_readers.py."""

import hashlib
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
def published(tmp_path, monkeypatch):
    """published(protocol) stores the files, whose checksums torchvision then knows, and returns their folder."""
    from torchvision.datasets import CIFAR100

    folder = tmp_path / "cifar-100-python"
    folder.mkdir()

    def store(protocol=pickle.DEFAULT_PROTOCOL):
        data = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
        whole = {"data": data, "fine_labels": [2, 0], "coarse_labels": [0, 1], "filenames": ["a.png", "b.png"]}
        sums = {}
        for file, content in (("meta", NAMES), ("test", whole), ("train", whole)):
            pickled = dumps(content, protocol)
            (folder / file).write_bytes(pickled)
            sums[file] = hashlib.md5(pickled).hexdigest()
        monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
        monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
        monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": sums["meta"]})
        return folder

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
def test_images_and_names(published, protocol):
    images, paths = read_cifar100(published(protocol).parent)
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


@pytest.mark.parametrize("file", ["meta", "train", "test"])
def test_a_planted_pickle_is_not_run(published, tmp_path, file):
    target = tmp_path / "planted"
    path = published() / file
    for planted in (
        Planted(os.system, f"touch {target}"),
        Planted(os.mkdir, str(target)),
        Planted(eval, f"open({str(target)!r}, 'w')"),
        Planted(np.memmap, str(target), np.uint8, "w+", 0, 9),
    ):
        path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) | {"filenames": planted}))
        check_damaged(path)
        assert not target.exists()
        published()


@pytest.mark.parametrize("file", ["meta", "train", "test"])
@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"data": 1})[:-5], pickle.dumps([1]), None])
def test_damaged_and_missing_files(published, file, content):
    path = published() / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    check_damaged(path)


def check_damaged(path):
    message = f"the CIFAR-100 files in .*-python are damaged .{path.name} is missing or has another checksum.; fetch"
    with pytest.raises(DataError, match=message):
        read_cifar100(path.parent.parent)
