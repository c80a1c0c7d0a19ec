"""From files to tensors: the images of a folder or zip archive, decoded all at once or one by one."""

import math
import os
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from fglib.data.pixels import BILINEAR, LARGE_FILE, decode_image, one_at_a_time
from fglib.data.store import Store
from fglib.errors import DataError, printable

PROGRESS_FROM = 2000  # images; fewer are decoded before a reader could wonder
CHUNK = 64  # images for each task of the thread pool, so that its own cost does not show
THREADS_FROM = 8192  # bytes of a file; smaller images cost less to decode than to hand between threads
MEND = "replace or remove it, or go on without it (skip_corrupt=True)"


@dataclass(frozen=True)
class FileImages:
    """n images that are decoded when asked for, one by one: images[i] -> uint8 (3,H,W).

    size: side of the square that each image is resized and cropped to; None keeps images as they are stored,
        and they must then be of one size.
    """

    store: Store = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    size: int | None = None
    resample: Image.Resampling = BILINEAR

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> Tensor:
        image = torch.from_numpy(np.ascontiguousarray(self._pixels(i)))
        if image.shape != self.shape[1:]:
            (height, width), (rows, columns) = self.shape[2:], image.shape[1:]
            raise DataError(
                f"images differ in size: {self.store.where(self.names[0])} is {width} x {height} pixels, "
                f"{self.store.where(self.names[i])} is {columns} x {rows}; name a size to resize them to"
            )
        return image

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """(n,3,H,W), as of the tensor these images would make."""
        height, width = (self.size, self.size) if self.size else self._pixels(0).shape[1:]
        return len(self), 3, height, width

    def subset(self, index: Sequence[int]) -> "FileImages":
        """The images at `index`, in that order."""
        return replace(self, names=tuple(self.names[i] for i in index))

    def sizes(self) -> list[int]:
        """The length of each file in bytes; DataError for one that is gone."""
        return [self.store.size(name) for name in self.names]

    def decode(self) -> Tensor:
        """All images at once, uint8 (n,3,H,W); DataError for one that cannot be decoded."""
        try:
            images = torch.from_numpy(np.empty(self.shape, dtype=np.uint8))
        except MemoryError as error:
            count, gigabytes = f"{len(self):,}", math.prod(self.shape) / 1e9
            raise DataError(
                f"{count} images under {self.store.path} take {gigabytes:.0f} GB decoded, more memory than there is; "
                "take smaller ones, or decode each when it is needed (resident=False)"
            ) from error

        def fill(i: int) -> None:
            images[i] = self[i]

        self._for_all(fill, "decoding")
        return images

    def readable(self) -> Tensor:
        """The indices (m,) of the images that can be decoded, with a warning when some cannot."""
        corrupt = {}

        def test(i: int) -> None:
            try:
                self._pixels(i)
            except DataError as error:
                corrupt[i] = error

        self._for_all(test, "checking")
        first = corrupt[min(corrupt)] if corrupt else None
        if corrupt and len(corrupt) == len(self):
            raise DataError(f"none of the {len(self)} images under {self.store.path} can be read; the first: {first}")
        if corrupt:
            warnings.warn(printable(f"left out {len(corrupt)} of {len(self)} images; the first: {first}"), stacklevel=2)
        return torch.tensor([i for i in range(len(self)) if i not in corrupt])

    def _for_all(self, work, title: str) -> None:
        """work(i) for every image, photographs in threads: Pillow frees the interpreter lock to decode."""

        def chunk(members: range) -> int:
            for i in members:
                work(i)
            return len(members)

        threads = 1
        with suppress(DataError):  # a file that is gone is named by `_pixels`
            if max(map(self.store.size, self.names[:8]), default=0) >= THREADS_FROM:
                threads = min(8, os.cpu_count() or 1)
        whole, quiet = range(len(self)), len(self) <= PROGRESS_FROM
        with (
            ThreadPoolExecutor(threads) as pool,
            tqdm(total=len(self), desc=title, unit="image", disable=quiet, file=sys.stderr) as bar,
        ):
            for done in pool.map(chunk, (whole[k : k + CHUNK] for k in whole[::CHUNK])):
                bar.update(done)

    def _pixels(self, i: int) -> np.ndarray:
        """One decoded image, uint8 (3,H,W)."""
        name = self.names[i]
        try:
            size = self.store.size(name)
            with one_at_a_time(size > LARGE_FILE):
                return self._decoded(name, self.store.read(name, size))
        except DataError as error:
            raise DataError(f"{error}; {MEND}") from error

    def _decoded(self, name: str, data: bytes) -> np.ndarray:
        try:
            return decode_image(data, self.size, self.resample, PurePosixPath(name).suffix)
        except MemoryError:  # no fault of the file
            raise
        except Exception as error:  # a damaged file makes Pillow's readers fail in any way they can
            raise DataError(f"cannot decode image {self.store.where(name)} ({error})") from error
