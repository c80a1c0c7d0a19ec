"""Features and scores of whole image sets: infer once, score with pure functions."""

from collections.abc import Callable

import torch
from torch import Tensor

from fglib.data.augment import to_unit_interval
from fglib.data.images import ImageSet
from fglib.data.loader import in_order, load_batches
from fglib.methods import Method
from fglib.precision import at_least_float32


@torch.no_grad()
def apply(
    method: Method,
    function: Callable[[Tensor], Tensor],
    images: ImageSet,
    device: str | torch.device = "cpu",
    batch_size: int = 512,
) -> Tensor:
    """`function` of every image (B, 3, H, W) in [0, 1], the method in evaluation mode; float32 at least, on the CPU."""
    training, device = method.training, torch.device(device)
    method.to(device).eval()
    try:
        parts = [
            at_least_float32(function(to_unit_interval(pixels))).cpu()
            for _, pixels in load_batches(images, in_order(len(images), batch_size), device)
        ]
    finally:
        method.train(training)
    return torch.cat(parts)


def embed(method: Method, images: ImageSet, device: str | torch.device = "cpu") -> Tensor:
    """Retrieval features (n, d) of an image set."""
    return apply(method, method.embed, images, device)
