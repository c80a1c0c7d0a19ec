"""Losses, one file per paper: pure functions of tensors."""

from fglib.losses.coarse2fine import center_loss, map_overlap, overlap_penalty
from fglib.losses.compared import gaussian_mixture_loss, maximum_entropy_loss, pairwise_confusion_loss
from fglib.losses.grafit import instance_loss, knn_loss
from fglib.losses.patterns import instance_cross_entropy, instance_cross_entropy_within
from fglib.losses.subtle import gradient_boosting_cross_entropy

__all__ = [
    "center_loss",
    "gaussian_mixture_loss",
    "gradient_boosting_cross_entropy",
    "instance_cross_entropy",
    "instance_cross_entropy_within",
    "instance_loss",
    "knn_loss",
    "map_overlap",
    "maximum_entropy_loss",
    "overlap_penalty",
    "pairwise_confusion_loss",
]
