"""Activations of frozen stages, computed once: training then reads them in place of images.

Where the lower stages of a trunk keep their weights, what they give for a view of an image never changes. So a number
of views of every image is drawn, taken through these stages, and kept on disk in float16; an epoch reads one of them.
The trunk takes both, images and activations, so that the loop and the methods do not notice (`CachedTrunk`).

A cache belongs to its pixels, to the weights of the frozen stages and to the augmentation: another of any of these is
another cache. It is filled piece by piece, and a filling that was stopped goes on. Seeds share it.
"""

import hashlib
import json
import sys
from collections.abc import Iterator

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn
from tqdm import tqdm

from fglib.config import AugmentConfig
from fglib.data.augment import Augment
from fglib.data.images import ImageSet
from fglib.errors import ConfigError, FglibError
from fglib.models.freezing import stages
from fglib.models.trunk import Trunk
from fglib.storage import data_root, write_atomically

PIECE = 128  # images that are computed and written at once
LARGEST = 40e9  # bytes of all caches together; the one that was not used for longest goes first


class CachedTrunk(Trunk):
    """A trunk that takes activations of its frozen stages in place of images."""

    def maps(self, images: Tensor) -> Tensor:
        """Last feature map of images (B, 3, H, W) in [0, 1], or of activations (B, C, h, w) of the frozen stages."""
        return super().maps(images) if images.shape[1] == 3 else self.body[self.frozen :](images)


class Activations:
    """Activations (views, n, C, h, w) float16 of the frozen stages of a trunk, on disk."""

    def __init__(self, trunk: Trunk, up_to: str, images: ImageSet, augment: AugmentConfig, views: int) -> None:
        if not isinstance(trunk.body, nn.Sequential):
            raise ConfigError(
                "train.cache_views needs a trunk of stages one after the other, such as efficientnet_lite0"
            )
        if not images.resident:
            raise ConfigError("train.cache_views needs the images in memory; set data.options.resident to true")
        if augment.views > views:
            raise ConfigError(f"train.cache_views is {views}, must be at least augment.views, {augment.views}")
        self.trunk, self.images, self.augment, self.views = trunk, images, augment, views
        self.frozen = list(stages(trunk)).index(up_to) + 1
        with torch.no_grad():
            shape = self._through(self._drawn(0, torch.arange(1)))[0].shape
        self.shape = (views, len(images), *shape)
        self.bytes = 2 * int(np.prod(self.shape, dtype=np.int64))
        if self.bytes > LARGEST:
            raise ConfigError(
                f"train.cache_views wants {self.bytes / 1e9:.0f} GB for {views} views of {len(images):,} images, and "
                f"the limit is {LARGEST / 1e9:.0f} GB; set fewer, a later stage in train.freeze, or smaller images"
            )
        self.path = data_root() / "activations" / f"{self._key()}.f16"

    def fill(self, label: str = "") -> "Activations":
        """Compute what is not there yet; of several processes one computes, the others wait."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock")):
                done = self._done()
                if done < self.views * len(self.images):
                    self._make_room()
                    self._fill(done, label)
        except OSError as e:
            raise FglibError(
                f"cannot keep activations in {self.path.parent}: {e.strerror or e}; they take "
                f"{self.bytes / 1e9:.1f} GB: free space, name another folder in FGLIB_DATA, or set train.cache_views "
                "to 0"
            ) from e
        self.path.with_suffix(".json").touch()  # used now
        return self

    def serve(self, *trunks: Trunk) -> None:
        """Let trunks take these activations in place of images."""
        for trunk in trunks:
            trunk.__class__, trunk.frozen = CachedTrunk, self.frozen

    def epoch(
        self, batches: list[Tensor], device: torch.device, seed: int, epoch: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (index (B,), activations (T, B, C, h, w) float32) on the device; no image has a view twice.

        Which views an image shows depends on seed, epoch and index alone.
        """
        kept = np.memmap(self.path, np.float16, "r", shape=self.shape)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        chosen = torch.rand(len(self.images), self.views, generator=generator).argsort(1)[:, : self.augment.views]
        for index in batches:
            rows = index.cpu()
            found = torch.from_numpy(kept[chosen[rows].T.numpy(), rows.numpy()])
            yield index.to(device), found.to(device).float()

    def _drawn(self, view: int, index: Tensor) -> Tensor:
        """One view (B, 3, H, W) of some images: the same whenever it is drawn."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(view * 1_000_003 + int(index[0]))
            pixels = self.images.images[index.to(self.images.images.device)]
            one = AugmentConfig(**{**vars(self.augment), "views": 1})
            return Augment(one, one.size_of_views(self.images.image_size))(pixels)[0]

    def _through(self, views: Tensor) -> Tensor:
        """Activations of views (B, 3, H, W), of the frozen stages in evaluation."""
        return self.trunk.body[: self.frozen]((views - self.trunk.mean) / self.trunk.std)

    @torch.no_grad()
    def _fill(self, done: int, label: str) -> None:
        total, n = self.views * len(self.images), len(self.images)
        kept = np.memmap(self.path, np.float16, "r+" if done else "w+", shape=self.shape)
        with tqdm(
            desc=f"{label}: frozen stages", total=total, initial=done, unit="image", disable=not label, file=sys.stderr
        ) as bar:
            while done < total:
                view, start = divmod(done, n)
                index = torch.arange(start, min(start + PIECE, n))
                kept[view, start : start + len(index)] = self._through(self._drawn(view, index)).half().cpu().numpy()
                kept.flush()
                done += len(index)
                write_atomically(self.path.with_suffix(".json"), json.dumps({"done": done}).encode())
                bar.update(len(index))

    def _done(self) -> int:
        """How many activations are there; none where the file is not as long as it should be."""
        note = self.path.with_suffix(".json")
        if not note.is_file() or not self.path.is_file() or self.path.stat().st_size != self.bytes:
            return 0
        return json.loads(note.read_text())["done"]

    def _make_room(self) -> None:
        """Remove caches, the longest unused first, until this one fits beside the others."""
        others = [path for path in self.path.parent.glob("*.f16") if path != self.path]
        used = {path: path.with_suffix(".json") for path in others}
        others.sort(key=lambda path: used[path].stat().st_mtime if used[path].is_file() else 0)
        room = LARGEST - sum(path.stat().st_size for path in others)
        while room < self.bytes and others:
            old = others.pop(0)
            room += old.stat().st_size
            for path in (old, used[old]):
                path.unlink(missing_ok=True)

    def _key(self) -> str:
        """A digest of pixels, frozen weights and augmentation."""
        digest = hashlib.sha256(repr((self.shape, vars(self.augment) | {"views": 1})).encode())
        digest.update(self.images.images.contiguous().cpu().numpy())
        for name, tensor in self.trunk.body[: self.frozen].state_dict().items():
            digest.update(name.encode() + tensor.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()[:20]
