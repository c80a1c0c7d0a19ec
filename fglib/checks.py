"""What losses and the memory check alike: each raises a ValueError that names the argument, its shape and type."""

from numbers import Integral

import torch
from torch import Tensor


def check_reduction(reduction: str) -> None:
    """`reduction` must be "mean" or "none"."""
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction is {reduction!r}, must be 'mean' or 'none'")


def is_whole(value: object, least: int = 1) -> bool:
    """Whether `value` is an integer, Python's or numpy's, of at least `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def check_tensor(name: str, values: Tensor) -> None:
    """`values` must be a tensor."""
    if not isinstance(values, Tensor):
        raise ValueError(f"{name} is of type {type(values).__name__}, must be a tensor")


def check_rows(name: str, values: Tensor) -> None:
    """`values` must be (B, d) floats, B at least 1."""
    check_tensor(name, values)
    if values.ndim != 2 or len(values) == 0 or not values.is_floating_point():
        raise misfit(name, values, "(B, d) floats")


def check_table(name: str, values: Tensor, of: str, rows: Tensor) -> None:
    """`values` must be (n, d) floats of the same d as `rows` (B, d), the argument called `of`."""
    check_tensor(name, values)
    if values.ndim != 2 or values.shape[1] != rows.shape[1] or not values.is_floating_point():
        raise misfit(name, values, "(n, d) floats", **{of: rows})


def check_maps(name: str, values: Tensor) -> None:
    """`values` must be (B, C, H, W) floats, no size zero."""
    check_tensor(name, values)
    if values.ndim != 4 or values.numel() == 0 or not values.is_floating_point():
        raise misfit(name, values, "(B, C, H, W) floats")


def check_centers(features: Tensor, labels: Tensor, centers: Tensor) -> None:
    """Features (B, M, N), labels (B,) and centers (C, M, N) must fit; the labels' range is checked on the CPU only."""
    for name, values in (("features", features), ("labels", labels), ("centers", centers)):
        check_tensor(name, values)
    if features.ndim != 3 or features.numel() == 0 or not features.is_floating_point():
        raise misfit("features", features, "(B, M, N) floats")
    if centers.ndim != 3 or centers.shape[1:] != features.shape[1:] or not centers.is_floating_point():
        raise misfit("centers", centers, "(C, M, N) floats", features=features)
    if labels.shape != features.shape[:1]:
        raise ValueError(f"labels has shape {shape(labels)}, features {shape(features)}: one label per image")
    check_integers("labels", labels)
    if labels.device.type == "cpu":
        check_range("labels", labels, len(centers), f"classes of centers {shape(centers)}")


def check_integers(name: str, values: Tensor) -> None:
    """`values` must hold integers."""
    check_tensor(name, values)
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"{name} has type {values.dtype}, must hold integers; its shape is {shape(values)}")


def check_targets(logits: Tensor, target: Tensor, name: str = "logits") -> None:
    """`logits` (B, C), the argument `name`, and `target` (B,) must fit; labels' range is checked on the CPU only."""
    check_rows(name, logits)
    check_tensor("target", target)
    if target.shape != logits.shape[:1]:
        raise ValueError(f"target has shape {shape(target)}, {name} {shape(logits)}: one label per row of {name}")
    check_integers("target", target)
    if target.device.type == "cpu":
        check_range("target", target, logits.shape[1], f"classes of {name} {shape(logits)}")


def check_range(name: str, values: Tensor, n: int, of: str) -> None:
    """`values` must lie in 0 ... n - 1; `of` says what there are n of. It waits for the device."""
    if len(values) and not 0 <= int(values.min()) <= int(values.max()) < n:
        raise ValueError(
            f"{name} has shape {shape(values)} and runs from {int(values.min())} to {int(values.max())}, "
            f"beyond the {n} {of}"
        )


def check_slots(index: Tensor, n: int, name: str) -> None:
    """The indices of a batch must be rows of a memory of n slots, each at most once."""
    check_range("index", index, n, f"rows of {name}")
    values, counts = index.unique(return_counts=True)
    if len(values) < len(index):
        twice = int(values[counts.argmax()])
        raise ValueError(f"index has shape {shape(index)} and repeats {twice}: one row per image")


def check_finite(name: str, values: Tensor) -> None:
    """Rows of `values` (B, ...) must be finite; checked on the CPU only, where it stalls nothing."""
    if values.device.type == "cpu" and not values.isfinite().all():
        row = int((~values.isfinite()).flatten(1).any(1).nonzero()[0])
        raise ValueError(f"row {row} of {name} is not finite, or too long for its type; its shape is {shape(values)}")


def unit_vectors(name: str, vectors: Tensor) -> Tensor:
    """The vectors (..., d) at unit length; NaN where a vector has no finite length."""
    return vectors / lengths_of(name, vectors)[..., None]


def lengths_of(name: str, vectors: Tensor) -> Tensor:
    """Lengths (...) of vectors (..., d), at least the smallest normal float; on the CPU ValueError for one of zero.

    A length that is not finite is NaN: divided by infinity, a vector would become an ordinary one of zeros.
    """
    lengths = vectors.norm(dim=-1)
    if vectors.device.type == "cpu" and not lengths.all():
        raise ValueError(
            f"row {int((lengths == 0).flatten().nonzero()[0])} of {name} has zero length: it has no cosine"
        )
    return lengths.masked_fill(lengths == torch.inf, torch.nan).clamp(min=torch.finfo(vectors.dtype).tiny)


def shape(values: Tensor) -> tuple[int, ...]:
    """A shape as messages print it."""
    return tuple(values.shape)


def misfit(name: str, values: Tensor, needed: str, **beside: Tensor) -> ValueError:
    """The error of an argument of another shape or type than needed, for other arguments `beside` it by their names."""
    others = "".join(f" for {other} of shape {shape(tensor)}" for other, tensor in beside.items())
    return ValueError(f"{name} has shape {shape(values)} and type {values.dtype}, must be {needed}{others}")
