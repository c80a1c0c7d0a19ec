"""CIFAR-100 in the files that its authors published and torchvision fetches: pickles, read without running them."""

import io
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fglib.data.store import Store
from fglib.errors import DataError

ARRAYS = {  # all that a pickled array of numbers calls for, under numpy's names of old and of now
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}
SHAPE = (3, 32, 32)


def read_cifar100(root: Path) -> tuple[list[Tensor], list[list[tuple[str, str]]]]:
    """The images uint8 (n,3,32,32) of the training and the test split, and of each (super-class, class).

    torchvision says what the files are called and what their checksums are; its class would unpickle whatever they hold
    and does not hand out the super-classes.
    """
    from torchvision.datasets import CIFAR100
    from torchvision.datasets.utils import check_integrity

    folder = Store(root / CIFAR100.base_folder)
    meta = (CIFAR100.meta["filename"], CIFAR100.meta["md5"])
    for file, checksum in (*CIFAR100.train_list, *CIFAR100.test_list, meta):
        if not check_integrity(folder.where(file), checksum):
            raise DataError(
                f"the CIFAR-100 files in {folder.path} are damaged ({file} is missing or has another checksum); fetch "
                "them again"
            )
    try:
        names = _unpickle(folder, meta[0])
        coarse, fine = (_names(names[f"{level}_label_names"]) for level in ("coarse", "fine"))
        parts = [_unpickle(folder, file) for ((file, _),) in (CIFAR100.train_list, CIFAR100.test_list)]
        images = [_images(part["data"]) for part in parts]
        paths = [[(coarse[c], fine[f]) for c, f in zip(*_labels(part), strict=True)] for part in parts]
        if any(len(own) != len(labels) for own, labels in zip(images, paths)):
            raise ValueError("they hold other numbers of images and labels")
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"the CIFAR-100 files in {folder.path} are damaged ({error!r}); fetch them again") from error
    return images, paths


class _Unpickler(pickle.Unpickler):
    """Numbers, text, lists, dictionaries and arrays of numbers; a pickle may name any function, and none is called."""

    def find_class(self, module: str, name: str):
        if (module, name) not in ARRAYS:
            raise pickle.UnpicklingError(f"it calls for {module}.{name}")
        return super().find_class(module, name)


def _unpickle(folder: Store, file: str) -> dict:
    data = folder.read(file)
    try:
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # a damaged pickle fails in any way it can
        raise DataError(f"{folder.where(file)} is not a file of CIFAR-100 ({error})") from error


def _names(found: Sequence) -> list[str]:
    return ["" + name for name in found]


def _labels(part: dict) -> tuple[list[int], list[int]]:
    found = tuple([int(label) for label in part[f"{level}_labels"]] for level in ("coarse", "fine"))
    if min(map(min, found)) < 0:
        raise ValueError("a label is negative")
    return found


def _images(data: np.ndarray) -> Tensor:
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        raise TypeError("images are not bytes")
    return torch.from_numpy(data.reshape(-1, *SHAPE))
