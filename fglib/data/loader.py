"""Batches of uint8 images with their index: from one resident tensor, or decoded by worker processes."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fglib.data.images import ImageSet


def epoch_batches(n: int, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """The shuffled batches of one epoch, as index tensors; they depend on seed and epoch alone.

    A last batch of a single image is left out: batch normalization cannot normalize it.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    batches = list(torch.randperm(n, generator=generator).split(batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


def load_batches(
    images: ImageSet, batches: list[Tensor], device: torch.device, workers: int = 2
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (index (B,), images (B, 3, H, W) uint8) on the device, in the given order.

    A resident set is indexed where it lies; anything larger streams through `workers` decoding processes.
    """
    if images.resident:
        place = images.images.device
        order = torch.cat(batches).to(place)  # one transfer, so that no step waits for its indices
        for index in order.split([len(b) for b in batches]):
            yield index.to(device), images.images[index].to(device)
        return
    loader = DataLoader(
        images.images,
        batch_sampler=[b.tolist() for b in batches],
        num_workers=workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # for the workers' seeds, which would otherwise take a draw from the augmentation
    )
    for index, pixels in zip(batches, loader):
        yield index.to(device), pixels.to(device, non_blocking=True)


def in_order(n: int, batch_size: int) -> list[Tensor]:
    """Batches of 0 ... n - 1 in order, for evaluation."""
    return list(torch.arange(n).split(batch_size))
