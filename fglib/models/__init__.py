"""Networks: trunks that turn images into features, and the parts the papers put on them."""

from fglib.models.backbones import Trunk, build_trunk
from fglib.models.ema import ema_update_

__all__ = ["Trunk", "build_trunk", "ema_update_"]
