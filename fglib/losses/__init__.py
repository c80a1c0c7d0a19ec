"""Losses, one file per paper: pure functions of tensors."""

from fglib.losses.coarse2fine import center_loss, map_overlap, overlap_penalty
from fglib.losses.grafit import instance_loss, knn_loss
from fglib.losses.patterns import instance_cross_entropy, instance_cross_entropy_within
from fglib.losses.subtle import gradient_boosting_cross_entropy

__all__ = [
    "center_loss",
    "gradient_boosting_cross_entropy",
    "instance_cross_entropy",
    "instance_cross_entropy_within",
    "instance_loss",
    "knn_loss",
    "map_overlap",
    "overlap_penalty",
]
