"""Random views drawn one image at a time, for sets that worker processes decode while training.

The steps of `augment.Augment`, in its order, by torchvision, which takes a quarter to a half of the processor time for
images of 224 pixels (benchmarks/stream.py). What differs from `Augment`:

- A resized crop is antialiased, and comes from the middle where none of its ten draws fits into the image.
- RandAugment has torchvision's fourteen operations, the identity in place of inverting and adding before solarizing. An
  image can get the same one twice. At magnitude 30, shears are of 17 degrees, shifts of 0.45 of the side; brightness,
  color, contrast and sharpness change by 0.9 up or down; solarize inverts from level 1 - magnitude / 30.
- A rectangle to erase that is longer than the image is drawn again, up to ten times, not cut; its shape is drawn from a
  log-uniform distribution.
- Every step rounds to 8 bits.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from fglib.config import AugmentConfig
from fglib.data.augment import Affine
from fglib.data.files import FileImages


class RandomViews(Dataset):
    """Views of n images for one epoch: views[i] -> uint8 (T, 3, H, W).

    The draws depend on seed, epoch and index alone, so that any number of workers, and a training that was stopped and
    goes on, see the same views.
    """

    def __init__(self, images: FileImages | Tensor, config: AugmentConfig, seed: int, epoch: int) -> None:
        self.images, self.views, self.seed, self.epoch = images, config.views, seed, epoch
        self.steps = _steps(config, config.size_of_views(tuple(images.shape[-2:])))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        image = self.images[i]
        seed = np.random.SeedSequence((self.seed, self.epoch, i)).generate_state(1)
        with torch.random.fork_rng(devices=()):  # without workers this is the generator that the network draws from
            torch.default_generator.manual_seed(int(seed[0]))
            return torch.stack([self.steps(image) for _ in range(self.views)])


def _steps(config: AugmentConfig, size: tuple[int, int]) -> nn.Sequential:
    """The random steps from a uint8 image (3, H, W) to one of its views."""
    from torchvision.transforms import v2

    bilinear = v2.InterpolationMode.BILINEAR
    steps = []
    if config.resized_crop:
        steps.append(v2.RandomResizedCrop(size, config.resized_crop))
    if config.pad_crop:
        steps.append(v2.RandomCrop(size, config.pad_crop))
    if config.flip:
        steps.append(v2.RandomHorizontalFlip())
    if config.degrees or config.translate or config.scale != (1.0, 1.0):
        # torchvision's has one color beyond the image's border, and costs the same
        steps.append(v2.Lambda(partial(_alone, Affine(config.degrees, config.translate, config.scale))))
    if config.randaugment:
        operations, magnitude = config.randaugment
        steps.append(v2.RandAugment(operations, round(100 * magnitude), 3001, bilinear))  # in hundredths, of 0 to 30
    if config.erasing:
        steps.append(v2.RandomErasing(config.erasing))
    return nn.Sequential(*steps)


def _alone(step: nn.Module, image: Tensor) -> Tensor:
    """A step for float batches on one uint8 image."""
    return step(image[None].float())[0].round().to(torch.uint8)
