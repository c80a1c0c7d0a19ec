"""What a caller may pass: embeddings, labels and numbers, checked and brought to one form."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fglib.checks import is_whole, misfit, shape
from fglib.precision import at_least_float32, working_dtype


def unit_pair(
    query: Tensor, gallery: Tensor, exclude: Tensor | None = None, name: str = "gallery"
) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vectors of one type and the rows to leave out, -1 for none, checked against each other."""
    query, gallery = unit(query, "query"), unit(gallery, name)
    query, gallery = (x.to(working_dtype(query, gallery)) for x in (query, gallery))
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(f"{name} has shape {shape(gallery)}, query {shape(query)}: dimensions differ")
    if exclude is None:
        return query, gallery, torch.full((len(query),), -1, device=query.device)
    exclude = integers(exclude, query, "exclude", "query")
    if int(exclude.min()) < -1 or int(exclude.max()) >= len(gallery):
        raise ValueError(
            f"exclude runs from {int(exclude.min())} to {int(exclude.max())}, must be -1 or a row of {name}, "
            f"which has shape {shape(gallery)}"
        )
    return query, gallery, exclude


def unit(embeddings: Tensor, name: str) -> Tensor:
    """(n, d) of unit length, float32 or float64. ValueError naming the first row that is zero or not finite."""
    embeddings = tensor(embeddings, name)
    if embeddings.ndim != 2 or len(embeddings) == 0 or not embeddings.is_floating_point():
        raise misfit(name, embeddings, "(rows, d) floats")
    # Divided by the largest entry first, the square of a very large or small embedding stays in range.
    embeddings = at_least_float32(embeddings)
    largest = embeddings.abs().amax(1, keepdim=True)
    for bad, what in ((~largest.isfinite(), "is not finite"), (largest == 0, "has zero length")):
        if bad.any():
            raise ValueError(f"row {int(bad.flatten().nonzero()[0])} of {name} {what}: it has no cosine")
    return F.normalize(embeddings / largest, dim=1)


def tensor(values: object, name: str) -> Tensor:
    """A tensor, or an array or list of numbers as one. ValueError for anything else."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as e:
        raise ValueError(
            f"{name} is of type {type(values).__name__} and holds no numbers: pass a tensor, an array or a list of them"
        ) from e


def integers(values: Tensor | None, rows: Tensor, name: str, of: str) -> Tensor:
    """(rows,) int64 on the device of `rows`, the tensor called `of`. ValueError for another shape or type."""
    if values is None:
        raise ValueError(f"{name} is missing: {of} has shape {shape(rows)}")
    values = tensor(values, name).to(rows.device)
    if values.shape != rows.shape[:1]:
        raise ValueError(f"{name} has shape {shape(values)}, {of} {shape(rows)}: one entry per row")
    if values.is_floating_point() or values.is_complex():
        raise ValueError(f"{name} has type {values.dtype}, must hold integers; its shape is {shape(values)}")
    return values.long()


def class_labels(values: Tensor | None, rows: Tensor, name: str, of: str, num_classes: int) -> Tensor:
    """`integers` from 0 to num_classes - 1. ValueError for any other."""
    values = integers(values, rows, name, of)
    if int(values.min()) < 0 or int(values.max()) >= num_classes:
        raise ValueError(
            f"{name} has shape {shape(values)} and runs from {int(values.min())} to {int(values.max())}, "
            f"must be classes from 0 to {num_classes - 1}"
        )
    return values


def count(name: str, value: int) -> int:
    """An integer of at least 1, Python's or numpy's. ValueError for anything else."""
    if not is_whole(value):
        raise ValueError(f"{name} is {value!r}, must be an integer of at least 1")
    return int(value)


def counts(name: str, values: Sequence[int]) -> tuple[int, ...]:
    """One `count` or more."""
    listed = list(values) if isinstance(values, Iterable) else []
    if not listed or not all(map(is_whole, listed)):
        raise ValueError(f"{name} is {values!r}, must be integers of at least 1")
    return tuple(map(int, listed))
