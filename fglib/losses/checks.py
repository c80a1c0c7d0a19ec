"""What losses and the memory check alike: each raises a ValueError that names the argument, its shape and type."""

import torch
from torch import Tensor


def check_reduction(reduction: str) -> None:
    """`reduction` must be "mean" or "none"."""
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction is {reduction!r}, must be 'mean' or 'none'")


def check_rows(name: str, values: Tensor) -> None:
    """`values` must be (B, d) floats, B at least 1."""
    if values.ndim != 2 or len(values) == 0 or not values.is_floating_point():
        raise ValueError(f"{name} has shape {shape(values)} and type {values.dtype}, must be (B, d) floats")


def check_table(name: str, values: Tensor, of: str, rows: Tensor) -> None:
    """`values` must be (n, d) floats of the same d as `rows` (B, d), the argument called `of`."""
    if values.ndim != 2 or values.shape[1] != rows.shape[1] or not values.is_floating_point():
        raise ValueError(
            f"{name} has shape {shape(values)} and type {values.dtype}, must be (n, d) floats "
            f"for {of} of shape {shape(rows)}"
        )


def check_maps(name: str, values: Tensor) -> None:
    """`values` must be (B, C, H, W) floats, no size zero."""
    if values.ndim != 4 or values.numel() == 0 or not values.is_floating_point():
        raise ValueError(f"{name} has shape {shape(values)} and type {values.dtype}, must be (B, C, H, W) floats")


def check_centers(features: Tensor, labels: Tensor, centers: Tensor) -> None:
    """Features (B, M, N), labels (B,) and centers (C, M, N) must fit; the labels' range is checked on the CPU only."""
    if features.ndim != 3 or features.numel() == 0 or not features.is_floating_point():
        raise ValueError(f"features has shape {shape(features)} and type {features.dtype}, must be (B, M, N) floats")
    if centers.ndim != 3 or centers.shape[1:] != features.shape[1:] or not centers.is_floating_point():
        raise ValueError(
            f"centers has shape {shape(centers)} and type {centers.dtype}, must be (C, M, N) floats "
            f"for features of shape {shape(features)}"
        )
    if labels.shape != features.shape[:1]:
        raise ValueError(f"labels has shape {shape(labels)}, features {shape(features)}: one label per image")
    check_integers("labels", labels)
    if labels.device.type == "cpu" and not 0 <= int(labels.min()) <= int(labels.max()) < len(centers):
        raise ValueError(
            f"labels has shape {shape(labels)} and runs from {int(labels.min())} to {int(labels.max())}, "
            f"beyond the {len(centers)} classes of centers {shape(centers)}"
        )


def check_integers(name: str, values: Tensor) -> None:
    """`values` must hold integers."""
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"{name} has type {values.dtype}, must hold integers; its shape is {shape(values)}")


def check_targets(logits: Tensor, target: Tensor, name: str = "logits") -> None:
    """`logits` (B, C), the argument `name`, and `target` (B,) must fit; labels' range is checked on the CPU only."""
    check_rows(name, logits)
    if target.shape != logits.shape[:1]:
        raise ValueError(f"target has shape {shape(target)}, {name} {shape(logits)}: one label per row of {name}")
    check_integers("target", target)
    if target.device.type == "cpu" and not 0 <= int(target.min()) <= int(target.max()) < logits.shape[1]:
        raise ValueError(
            f"target has shape {shape(target)} and runs from {int(target.min())} to {int(target.max())}, "
            f"beyond the {logits.shape[1]} classes of {name} {shape(logits)}"
        )


def check_slots(index: Tensor, n: int, name: str) -> None:
    """ValueError unless the indices of a batch are rows of a memory of n slots, each at most once."""
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < n:
        raise ValueError(
            f"index has shape {shape(index)} and runs from {int(index.min())} to {int(index.max())}, beyond the {n} "
            f"rows of {name}"
        )
    if len(index.unique()) < len(index):
        values, counts = index.unique(return_counts=True)
        raise ValueError(
            f"index has shape {shape(index)} and repeats {int(values[counts.argmax()])}: one row per image"
        )


def unit_vectors(name: str, vectors: Tensor) -> Tensor:
    """The vectors (..., d) at unit length."""
    return vectors / lengths_of(name, vectors)[..., None]


def lengths_of(name: str, vectors: Tensor) -> Tensor:
    """Lengths (...) of vectors (..., d), at least the smallest normal float; on the CPU ValueError for one of zero."""
    lengths = vectors.norm(dim=-1)
    if vectors.device.type == "cpu" and not lengths.all():
        raise ValueError(
            f"row {int((lengths == 0).flatten().nonzero()[0])} of {name} has zero length: it has no cosine"
        )
    return lengths.clamp(min=torch.finfo(vectors.dtype).tiny)


def shape(values: Tensor) -> tuple[int, ...]:
    """A shape as messages print it."""
    return tuple(values.shape)
