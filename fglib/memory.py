"""A memory bank: one embedding for every training image."""

import torch
from torch import Tensor, nn

from fglib.losses.checks import check_integers, check_slots, shape, unit_vectors


class MemoryBank(nn.Module):
    """One slot per training image (Grafit, Section 3.1, "Memory of embeddings").

    vectors: (size, dim) float32 buffer, part of the state and so of every checkpoint; zero until it is filled.
    renormalize: keep the slots at unit length after an update. False leaves the average as the paper prints it.
    """

    def __init__(self, size: int, dim: int, renormalize: bool = True, momentum: float = 0.5) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ValueError(f"size is {size} and dim {dim}: a memory bank needs a slot and a dimension at least")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}, must be at least 0 and below 1")
        self.renormalize, self.momentum = renormalize, momentum
        self.register_buffer("vectors", torch.zeros(size, dim))

    @torch.no_grad()
    def fill(self, embeddings: Tensor) -> None:
        """All slots at once, with embeddings (size, dim) of the training images in the order of their index."""
        if embeddings.shape != self.vectors.shape:
            raise ValueError(f"embeddings have shape {shape(embeddings)}, the bank {shape(self.vectors)}")
        self.vectors.copy_(unit_vectors("embeddings", embeddings.float()))

    @torch.no_grad()
    def update(self, index: Tensor, embeddings: Tensor) -> None:
        """m <- momentum m + (1 - momentum) g, half and half as in the paper, for the images of a batch.

        index: (B,) integers, each at most once; embeddings: (B, dim) of any length, g is their direction. ValueError
        for shapes that do not fit and, on the CPU, for zero length and for indices that repeat or lie outside the bank.
        """
        if index.ndim != 1 or embeddings.shape != (len(index), self.vectors.shape[1]):
            raise ValueError(
                f"embeddings have shape {shape(embeddings)}, index {shape(index)} and the bank {shape(self.vectors)}"
            )
        check_integers("index", index)
        if index.device.type == "cpu":
            check_slots(index, len(self.vectors), "the bank")
        index = index.long()  # torch takes eight bits without a sign for a mask
        new = torch.lerp(unit_vectors("embeddings", embeddings.float()), self.vectors[index], self.momentum)
        self.vectors[index] = unit_vectors("updates", new) if self.renormalize else new
