"""The precision that sums and comparisons are made in: float32, or float64 where it comes in."""

from functools import reduce

import torch
from torch import Tensor


def working_dtype(*values: Tensor) -> torch.dtype:
    """The widest float type of the values, float32 at least: half precision is widened, float64 is kept."""
    return reduce(torch.promote_types, (v.dtype for v in values), torch.float32)


def at_least_float32(values: Tensor) -> Tensor:
    """The values in `working_dtype`."""
    return values.to(working_dtype(values))
