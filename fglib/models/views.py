"""Several looks at an image: five crops, and what the predictions for them make together."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def five_crops(images: Tensor, side: int, padding: int = 0) -> Tensor:
    """The four corners and the center (5, B, 3, side, side) of images (B, 3, H, W), framed by `padding` zeros first.

    ValueError when the crop is larger than the image with its frame.
    """
    from torchvision.transforms.functional import five_crop

    height, width = (length + 2 * padding for length in images.shape[-2:])
    if not 1 <= side <= min(height, width):
        raise ValueError(f"side is {side}, must be from 1 to what images of {height} x {width} pixels hold")
    return torch.stack(five_crop(F.pad(images, [padding] * 4), [side, side]))


def mean_of_probabilities(scores: Tensor) -> Tensor:
    """Logarithm (B, C) of the mean over V looks of the probabilities, of scores (V, B, C)."""
    return scores.log_softmax(-1).logsumexp(0) - math.log(len(scores))
