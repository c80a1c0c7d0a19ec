"""Trunks: convolutional networks without their classifier.

A trunk takes images (B, 3, H, W) in [0, 1], normalizes them by its own channel statistics, and gives the
last feature map (`maps`) or its spatial mean (`forward`), the f(x) of the papers.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision import models as tv
from torchvision.models.resnet import BasicBlock, conv1x1

from fglib.config import ModelConfig
from fglib.errors import ConfigError, unknown

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Trunk(nn.Module):
    """Normalization, a convolutional body (B, 3, H, W) -> (B, dim, h, w), and global average pooling."""

    def __init__(self, body: nn.Module, dim: int) -> None:
        super().__init__()
        self.body, self.dim = body, dim
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def maps(self, images: Tensor) -> Tensor:
        """Last feature map (B, dim, h, w) of images (B, 3, H, W) in [0, 1]."""
        return self.body((images - self.mean) / self.std)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, dim) of images (B, 3, H, W) in [0, 1]: the spatial mean of the last feature map."""
        return self.maps(images).mean((2, 3))


def build_trunk(config: ModelConfig) -> Trunk:
    """The trunk a configuration names.

    `small_resnet` is a basic-block ResNet for small images with `width` channels in its first stage, doubled
    in each further one. Every other name is a torchvision ResNet, ResNeXt, Wide ResNet or RegNet; the stem
    "32px" (a 3x3 convolution of stride 1, no max-pool) suits small images. `weights` loads torchvision's.
    """
    if config.stem not in ("32px", "224px"):
        raise unknown("stem", config.stem, ("32px", "224px"))
    if config.backbone == "small_resnet":
        if config.weights:
            raise ConfigError(f"model.weights is {config.weights!r}, but small_resnet has no pre-trained weights")
        body, dim = small_resnet(config.width, config.blocks)
    else:
        body, dim = _torchvision_body(config)
    for module in body.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # attribution methods read activations that an in-place ReLU overwrites
    return Trunk(body, dim)


def small_resnet(width: int, blocks: tuple[int, ...]) -> tuple[nn.Sequential, int]:
    """A 3x3 stem and `len(blocks)` stages of basic blocks (He et al. 2016, Sec. 4.2); returns body, channels."""
    stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    layers, channels = [("stem", stem)], width
    for stage, count in enumerate(blocks):
        out, units = width * 2**stage, []
        for i in range(count):
            stride = 2 if stage > 0 and i == 0 else 1
            shortcut = None
            if stride != 1 or channels != out:
                shortcut = nn.Sequential(conv1x1(channels, out, stride), nn.BatchNorm2d(out))
            units.append(BasicBlock(channels, out, stride, shortcut))
            channels = out
        layers.append((f"layer{stage + 1}", nn.Sequential(*units)))
    body = nn.Sequential(OrderedDict(layers))
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return body, channels


def _torchvision_body(config: ModelConfig) -> tuple[nn.Module, int]:
    known = [n for n in tv.list_models(module=tv) if n.startswith(("resnet", "resnext", "wide_resnet", "regnet"))]
    if config.backbone not in known:
        raise unknown("backbone", config.backbone, [*known, "small_resnet"])
    try:
        network = tv.get_model(config.backbone, weights=config.weights)
    except OSError as e:
        raise ConfigError(
            f"the weights {config.weights} of {config.backbone} could not be fetched: {e}; put the file into "
            f"{torch.hub.get_dir()}/checkpoints, or set model.weights to null to train from scratch"
        ) from e
    dim = network.fc.in_features
    parts = OrderedDict((n, m) for n, m in network.named_children() if n not in ("avgpool", "fc"))
    if config.stem == "32px":
        if "conv1" not in parts:
            raise ConfigError(f"stem 32px is for ResNets, not {config.backbone}; use stem 224px")
        parts["conv1"] = nn.Conv2d(3, parts["conv1"].out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(parts["conv1"].weight, mode="fan_out", nonlinearity="relu")
        del parts["maxpool"]
    return nn.Sequential(parts), dim
