"""From files to tensors: a folder or zip archive of images, decoded all at once or one by one."""

import io
import os
import sys
import warnings
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from fglib.errors import DataError

BILINEAR, AREA = Image.Resampling.BILINEAR, Image.Resampling.BOX  # Pillow antialiases both when it shrinks
PROGRESS_FROM = 2000  # images; fewer are decoded before a reader could wonder
CHUNK = 64  # images for each task of the thread pool, so that its own cost does not show
THREADS_FROM = 8192  # bytes of a file; smaller images cost less to decode than to hand between threads


@dataclass(frozen=True)
class Store:
    """A folder or a zip archive, read the same way; names inside are relative, with forward slashes."""

    path: Path

    def names(self) -> tuple[list[str], list[str]]:
        """All files and all folders inside, sorted, without hidden ones and what archivers leave behind."""
        if self.path.is_dir():
            files, folders = [], []
            for top, below, found in os.walk(self.path, followlinks=True):
                base = Path(top).relative_to(self.path).as_posix()
                base = "" if base == "." else base + "/"
                folders += [base + name for name in below]
                files += [base + name for name in found]
        else:
            entries = _archive(self.path).namelist()
            files = [name for name in entries if not name.endswith("/")]
            folders = {name.rstrip("/") for name in entries if name.endswith("/")}
            folders |= {str(p) for name in files for p in list(PurePosixPath(name).parents)[:-1]}
        return tuple(sorted(name for name in part if not _hidden(name)) for part in (files, folders))

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        if self.path.is_dir():
            return (self.path / name).read_bytes()
        return _archive(self.path).read(name)

    def size(self, name: str) -> int:
        """The length of one file in bytes, without reading it."""
        if self.path.is_dir():
            return (self.path / name).stat().st_size
        return _archive(self.path).getinfo(name).file_size

    def where(self, name: str) -> str:
        """The full name of a file, for messages and records."""
        return str(self.path / name)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _archive(path: Path) -> zipfile.ZipFile:
    """The opened archive. Each process opens its own: forked workers would share one file position."""
    try:
        return _open_archive(path, path.stat().st_mtime_ns, os.getpid())
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is neither a folder nor a readable zip archive ({error})") from error


@lru_cache(maxsize=8)
def _open_archive(path: Path, changed: int, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


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
            raise DataError(self._unequal(i, image.shape[1:]))
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
        try:
            return [self.store.size(name) for name in self.names]
        except (OSError, KeyError) as error:
            raise DataError(f"an image under {self.store.path} cannot be found any more ({error})") from error

    def decode(self) -> Tensor:
        """All images at once, uint8 (n,3,H,W); DataError for one that cannot be decoded."""
        pixels = np.empty(self.shape, dtype=np.uint8)

        def fill(i: int) -> None:
            one = self._pixels(i)
            if one.shape != pixels.shape[1:]:
                raise DataError(self._unequal(i, one.shape[1:]))
            pixels[i] = one

        self._for_all(fill, "decoding")
        return torch.from_numpy(pixels)

    def readable(self) -> Tensor:
        """The indices (m,) of the images that can be decoded, with a warning when some cannot."""
        corrupt = {}

        def test(i: int) -> None:
            try:
                self._pixels(i)
            except DataError as error:
                corrupt[i] = error

        self._for_all(test, "checking")
        if len(corrupt) == len(self):
            raise DataError(f"none of the {len(self)} images under {self.store.path} can be decoded")
        if corrupt:
            first = corrupt[min(corrupt)]
            warnings.warn(f"left out {len(corrupt)} of {len(self)} images; the first: {first}", stacklevel=2)
        return torch.tensor([i for i in range(len(self)) if i not in corrupt])

    def _for_all(self, work, title: str) -> None:
        """work(i) for every image, photographs in threads: Pillow frees the interpreter lock to decode."""

        def chunk(start: int) -> int:
            stop = min(start + CHUNK, len(self))
            for i in range(start, stop):
                work(i)
            return stop - start

        large = len(self) > 0 and len(self.store.read(self.names[0])) >= THREADS_FROM
        threads = min(8, os.cpu_count() or 1) if large else 1
        quiet = len(self) <= PROGRESS_FROM
        with (
            ThreadPoolExecutor(threads) as pool,
            tqdm(total=len(self), desc=title, unit="image", disable=quiet, file=sys.stderr) as bar,
        ):
            for done in pool.map(chunk, range(0, len(self), CHUNK)):
                bar.update(done)

    def _pixels(self, i: int) -> np.ndarray:
        """One decoded image, uint8 (3,H,W)."""
        try:
            name = self.names[i]
            return decode_image(self.store.read(name), self.size, self.resample, PurePosixPath(name).suffix)
        except Exception as error:  # a damaged file makes Pillow's readers fail in any way they can
            raise DataError(
                f"cannot decode image {self.store.where(self.names[i])} ({error}); replace or remove it, or go "
                "on without it (skip_corrupt=True)"
            ) from error

    def _unequal(self, i: int, got: Sequence[int]) -> str:
        height, width = self.shape[2:]
        return (
            f"images differ in size: {self.store.where(self.names[0])} is {width} x {height} pixels, "
            f"{self.store.where(self.names[i])} is {got[1]} x {got[0]}; name a size to resize them to"
        )


def decode_image(
    data: bytes, size: int | None = None, resample: Image.Resampling = BILINEAR, suffix: str = ""
) -> np.ndarray:
    """An encoded image as uint8 RGB (3,H,W): short side scaled to `size`, then the center square.

    Grey is repeated to three channels, 16 bit become 8, transparent parts become white, as on a page.
    suffix: ending of the file's name; it may be wrong.
    """
    with Image.open(io.BytesIO(data), formats=_formats(suffix.lower())) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), resample, box=center_square(*image.size))
    return np.asarray(image).transpose(2, 0, 1)


@lru_cache
def _formats(suffix: str) -> tuple[str, ...]:
    """All formats, that of the ending first: a third of the time of a small WebP went into trying the others."""
    likely = Image.registered_extensions().get(suffix)
    return tuple(sorted(Image.OPEN, key=lambda kind: kind != likely))


def center_square(width: int, height: int) -> tuple[float, float, float, float]:
    """The largest square (x0, y0, x1, y1) in the middle of an image."""
    side = min(width, height)
    x, y = (width - side) / 2, (height - side) / 2
    return x, y, x + side, y + side
