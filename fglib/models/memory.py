"""A memory bank: one embedding for every training image."""

import torch
from torch import Tensor, nn

from fglib.checks import check_finite, check_integers, check_slots, check_tensor, shape, unit_vectors
from fglib.precision import working_dtype


class MemoryBank(nn.Module):
    """One slot per training image (Grafit, Section 3.1, "Memory of embeddings").

    vectors: (size, dim) buffer, float32 unless cast, part of the state and so of every checkpoint; zero until filled.
    renormalize: keep the slots at unit length after an update. False leaves the average as the paper prints it.
    """

    def __init__(self, size: int, dim: int, renormalize: bool = True, momentum: float = 0.5) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ValueError(f"size is {size} and dim {dim}: a memory bank needs at least one slot and one dimension")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}, must be at least 0 and below 1")
        self.renormalize, self.momentum = renormalize, momentum
        self.register_buffer("vectors", torch.zeros(size, dim))

    @torch.no_grad()
    def fill(self, embeddings: Tensor) -> None:
        """All slots at once, with embeddings (size, dim) of the training images in the order of their index.

        Errors as in `update`.
        """
        check_tensor("embeddings", embeddings)
        if embeddings.shape != self.vectors.shape:
            raise ValueError(f"embeddings have shape {shape(embeddings)}, the bank {shape(self.vectors)}")
        self.vectors.copy_(self._directions(embeddings))

    @torch.no_grad()
    def update(self, index: Tensor, embeddings: Tensor) -> None:
        """m <- momentum m + (1 - momentum) g, half and half as in the paper, for the images of a batch.

        index: (B,) integers, each at most once; embeddings: (B, dim) of any length, g is their direction. ValueError
        for shapes that do not fit and, on the CPU, for embeddings of zero length or not finite and for indices that
        repeat or lie outside the bank. Elsewhere it does not wait to check: what is not finite makes its slot NaN.
        """
        check_tensor("embeddings", embeddings)
        check_tensor("index", index)
        if index.ndim != 1 or embeddings.shape != (len(index), self.vectors.shape[1]):
            raise ValueError(
                f"embeddings have shape {shape(embeddings)}, index {shape(index)} and the bank {shape(self.vectors)}"
            )
        check_integers("index", index)
        if index.device.type == "cpu":
            check_slots(index, len(self.vectors), "the bank")
        index = index.long()  # torch takes eight bits without a sign for a mask
        directions = self._directions(embeddings)
        new = torch.lerp(directions, self.vectors[index].to(directions.dtype), self.momentum)
        new = unit_vectors("updates", new) if self.renormalize else new
        self.vectors[index] = new.to(self.vectors.dtype)

    def _directions(self, embeddings: Tensor) -> Tensor:
        """Embeddings at unit length, in the bank's precision, float32 at least."""
        directions = unit_vectors("embeddings", embeddings.to(working_dtype(self.vectors)))
        check_finite("embeddings", directions)
        return directions
