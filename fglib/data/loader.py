"""Batches of images with their index: from one resident tensor, or decoded by worker processes."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fglib.config import RunConfig
from fglib.data.augment import Augment, to_unit_interval
from fglib.data.files import FileImages
from fglib.data.images import ImageSet
from fglib.data.stream import RandomViews
from fglib.errors import DataError


def epoch_batches(n: int, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """The shuffled batches of one epoch, as index tensors; they depend on seed and epoch alone.

    A last batch of a single image is left out: batch normalization cannot normalize it.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    batches = list(torch.randperm(n, generator=generator).split(batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


def load_batches(
    images: ImageSet, batches: list[Tensor], device: torch.device, workers: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (index (B,), images (B, 3, H, W) uint8) on the device, in the given order.

    A resident set is indexed where it lies; anything larger streams through `workers` decoding processes, as many as
    torch has threads (8 at most) unless given.
    """
    if not images.resident:
        yield from _stream(images.images, batches, device, workers)
        return
    for index in _placed(batches, images.images.device):
        yield index.to(device), images.images[index].to(device)


def load_views(
    images: ImageSet,
    batches: list[Tensor],
    device: torch.device,
    config: RunConfig,
    epoch: int,
    workers: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (index (B,), random views (T, B, 3, H, W) float in [0, 1]) on the device, in the given order.

    Views of a resident set are drawn batch by batch on the device, from torch's generator (see `Augment`); those of a
    larger one image by image in the workers, by seed, epoch and index (see `stream`).
    """
    if images.resident:
        augment = Augment(config.augment, config.augment.size_of_views(images.image_size))
        for index, pixels in load_batches(images, batches, device):
            yield index, augment(pixels)
        return
    views = RandomViews(images.images, config.augment, config.seed, epoch)
    for index, pixels in _stream(views, batches, device, workers):  # (B, T, 3, H, W) uint8
        yield index, to_unit_interval(pixels.transpose(0, 1).contiguous())


def _stream(
    source: FileImages | Dataset, batches: list[Tensor], device: torch.device, workers: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (index (B,), stacked source[i]) on the device, from worker processes; DataError as they raise it."""
    loader = DataLoader(
        source,
        batch_sampler=[b.tolist() for b in batches],
        num_workers=min(8, torch.get_num_threads()) if workers is None else workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # for the workers' seeds, which would otherwise take a draw from the network
    )
    try:
        for index, pixels in zip(_placed(batches, device), loader):
            yield index, pixels.to(device, non_blocking=True)
    except DataError as error:  # its message is the worker's whole traceback, which ends in the sentence
        sentence = str(error).rpartition(f"{DataError.__module__}.{DataError.__name__}: ")[2]
        raise DataError(sentence.removesuffix(r"\n")) from None


def _placed(batches: list[Tensor], device: torch.device) -> tuple[Tensor, ...]:
    """The batches on a device, in one transfer, so that no step waits for its indices."""
    return torch.cat(batches).to(device).split([len(b) for b in batches])


def in_order(n: int, batch_size: int) -> list[Tensor]:
    """Batches of 0 ... n - 1 in order, for evaluation."""
    return list(torch.arange(n).split(batch_size))
