"""Where a network looks; the short name of `fglib.measure.explain`."""

from fglib.measure.explain import attention_map, attention_share, integrated_gradients, layer_grad_cam
from fglib.models.heads import class_activation_maps

__all__ = ["attention_map", "attention_share", "class_activation_maps", "integrated_gradients", "layer_grad_cam"]
