"""CIFAR-100 in the files that its authors published and torchvision fetches."""

import hashlib
import pickle
from pathlib import Path

import torch
from torch import Tensor

from fglib.data.store import Store
from fglib.errors import DataError


def read_cifar100(root: Path) -> tuple[list[Tensor], list[list[tuple[str, str]]]]:
    """The images uint8 (n,3,32,32) of the training and the test split, and of each (super-class, class).

    torchvision says what the files are called and what their checksums are; its class does not hand out the
    super-classes. A pickle may call any function, so that bytes with another checksum are not unpickled.
    """
    from torchvision.datasets import CIFAR100

    folder = Store(root / CIFAR100.base_folder)
    names = _published(folder, CIFAR100.meta["filename"], CIFAR100.meta["md5"])
    coarse, fine = names["coarse_label_names"], names["fine_label_names"]
    parts = [_published(folder, *file) for file in (*CIFAR100.train_list, *CIFAR100.test_list)]
    images = [torch.from_numpy(part["data"].reshape(-1, 3, 32, 32)) for part in parts]
    paths = [[(coarse[c], fine[f]) for c, f in zip(part["coarse_labels"], part["fine_labels"])] for part in parts]
    return images, paths


def _published(folder: Store, file: str, checksum: str) -> dict:
    try:
        data = folder.read(file)
    except DataError:
        data = b""
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != checksum:
        raise DataError(
            f"the CIFAR-100 files in {folder.path} are damaged ({file} is missing or has another checksum); fetch "
            "them again"
        )
    return pickle.loads(data, encoding="latin1")
