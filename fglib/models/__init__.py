"""Networks: trunks that turn images into features, and the parts the papers put on them."""

from fglib.models.attention import bilinear_attention_pool, orthogonal_rows_, update_centers_
from fglib.models.backbones import build_trunk
from fglib.models.diversification import DiversificationBlock, diversify
from fglib.models.ema import ema_update_
from fglib.models.heads import ClassMapHead
from fglib.models.trunk import Trunk
from fglib.models.upsampler import Upsampler, bilinear_upsample

__all__ = [
    "ClassMapHead",
    "DiversificationBlock",
    "Trunk",
    "Upsampler",
    "bilinear_attention_pool",
    "bilinear_upsample",
    "build_trunk",
    "diversify",
    "ema_update_",
    "orthogonal_rows_",
    "update_centers_",
]
