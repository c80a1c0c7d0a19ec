"""Where a network looks: attention maps of activations, and attributions of a score to pixels.

Attention maps: Zagoruyko and Komodakis, "Paying more attention to attention" (ICLR 2017), the maps of Fig. 2 of the
patterns paper. Attributions come from captum, which is imported where it is used: `pip install fglib[book]`.

Sizes: B images of H x W pixels, C channels of an activation of H' x W'.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fglib.checks import misfit, shape
from fglib.precision import at_least_float32

Score = Callable[[Tensor, Tensor], Tensor]


def attention_map(activations: Tensor, p: float = 2) -> Tensor:
    """Sum over the channels of |activation|^p, scaled to unit l2 norm per image.

    activations: (B, C, H', W') floats. Returns (B, H', W'), in float32 at least, non-negative; a map that is zero
    everywhere stays zero. ValueError for another shape and for p that is not positive.
    """
    if activations.ndim != 4 or not activations.is_floating_point():
        raise misfit("activations", activations, "(B, C, H, W) floats")
    if not p > 0:
        raise ValueError(f"p is {p}, must be positive")
    size = at_least_float32(activations).abs()
    # The result does not depend on the scale of an image, so large powers are kept in range by dividing it out.
    largest = size.detach().amax((1, 2, 3), keepdim=True)
    energy = (size / torch.where(largest > 0, largest, 1)).pow(p).sum(1)  # (B, H', W')
    return F.normalize(energy.flatten(1), dim=1).view_as(energy)


def attention_share(attention: Tensor, mask: Tensor) -> Tensor:
    """Attention inside a mask, in units of the mask's area: 1 is as much as the area alone would get.

    attention: (B, H', W') non-negative; mask: (B, H, W) bool. The map is resized to the image bilinearly and scaled
    to sum one; its sum inside the mask is divided by the mask's share of the image. Returns (B,), between 0 and the
    image area over the mask area; NaN for a map that is zero everywhere. ValueError for shapes that do not fit, a
    negative attention and an empty mask.
    """
    if attention.ndim != 3 or not attention.is_floating_point():
        raise misfit("attention", attention, "(B, H, W) floats")
    if mask.ndim != 3 or len(mask) != len(attention) or mask.dtype != torch.bool:
        raise misfit("mask", mask, "(B, H, W) bool", attention=attention)
    if (attention < 0).any():
        raise ValueError(f"attention has negative entries; its shape is {shape(attention)}")
    area = mask.flatten(1).double().mean(1)
    if (area == 0).any():
        raise ValueError(f"mask {int((area == 0).nonzero()[0])} is empty; mask has shape {shape(mask)}")
    mass = _resize(attention.double(), mask.shape[1:])
    return (mass * mask).sum((1, 2)) / mass.sum((1, 2)) / area


def integrated_gradients(
    score: Score,
    images: Tensor,
    targets: Tensor,
    baseline: Tensor | float = 0.0,
    steps: int = 32,
    batch_size: int = 64,
) -> Tensor:
    """Saliency by Integrated Gradients (Sundararajan et al., 2017): |attribution|, summed over the color channels.

    score(images (b, 3, H, W), targets (b, ...)) -> (b,) is what is explained: differentiable, of a network in
    evaluation mode. images: (B, 3, H, W) as the score takes them; targets: (B, ...), what it needs to know of each
    image, such as a class. The path starts at `baseline`, zero by default. Returns (B, H, W), non-negative, in the
    type of the images; captum rounds the weights of the steps to float32.
    """
    from captum.attr import IntegratedGradients

    explain = partial(
        IntegratedGradients(score).attribute, baselines=baseline, n_steps=steps, internal_batch_size=batch_size
    )
    found = [explain(i, additional_forward_args=t) for i, t in _batches(images, targets, batch_size)]
    return torch.cat(found).detach().abs().sum(1)


def layer_grad_cam(score: Score, layer: nn.Module, images: Tensor, targets: Tensor, batch_size: int = 64) -> Tensor:
    """Saliency by Grad-CAM (Selvaraju et al., 2017) at a layer: its channels weighted by their mean gradient.

    layer: the module behind `score` whose (b, C, H', W') output is weighed, commonly the last of the trunk; negative
    sums are cut at zero, the rest is resized bilinearly. Other arguments and the result as in `integrated_gradients`.
    """
    from captum.attr import LayerGradCam

    explain = partial(LayerGradCam(score, layer).attribute, relu_attributions=True)
    found = [explain(i, additional_forward_args=t) for i, t in _batches(images, targets, batch_size)]
    return _resize(torch.cat(found).detach()[:, 0], images.shape[2:])  # of (B, 1, H', W')


def _batches(images: Tensor, targets: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Copies of the images that take gradients, which leaves the caller's alone, with their targets."""
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images has shape {shape(images)}, must be (B, 3, H, W)")
    if targets.shape[:1] != images.shape[:1]:
        raise ValueError(f"targets has shape {shape(targets)}, images {shape(images)}: one target per image")
    copies = images.detach().clone()
    return ((i.requires_grad_(), t) for i, t in zip(copies.split(size), targets.split(size)))


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w) to (B, *size): bilinear, averaging where it shrinks."""
    return F.interpolate(maps[:, None], tuple(size), mode="bilinear", antialias=True)[:, 0]
