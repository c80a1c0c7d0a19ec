"""Losses, one file per paper: pure functions of tensors."""

from fglib.losses.grafit import instance_loss, knn_loss
from fglib.losses.patterns import instance_cross_entropy, instance_cross_entropy_within

__all__ = ["instance_cross_entropy", "instance_cross_entropy_within", "instance_loss", "knn_loss"]
