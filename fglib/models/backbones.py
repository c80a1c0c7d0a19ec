"""The trunks that a configuration names: a small ResNet, a whitened network, torchvision's, and those for photographs.

torchvision is imported where it builds something: that takes as long as importing torch.
"""

import copy
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fglib.config import ModelConfig
from fglib.errors import ConfigError, check_known, unknown
from fglib.models.photographs import LITE0, is_photographs, photograph_body
from fglib.models.trunk import Trunk
from fglib.models.whitened import WhitenedTrunk

HALF = (0.5, 0.5, 0.5)  # InceptionV3's mean and deviation: its weights were trained on pixels from -1 to 1
SIMD = 16  # floats in the widest register, of AVX-512
OURS = ("small_resnet", "whitened")
OUTSIDE = ("AuxLogits", "avgpool", "dropout", "fc")  # parts of torchvision's networks that make no feature map


def build_trunk(config: ModelConfig) -> Trunk:
    """The trunk a configuration names.

    `small_resnet` is a basic-block ResNet for small images with `width` channels in its first stage, doubled
    in each further one, `whitened` the network of that file, with stages of half, two and two times `width` channels.
    `efficientnet_lite0` and `timm:<name>` are those of `photographs`, with the weights `imagenet` or none.
    Every other name is a torchvision ResNet, ResNeXt, Wide ResNet, RegNet or inception_v3; the stem "32px" (a 3x3
    convolution of stride 1, no max-pool) suits small images. `weights` loads torchvision's. `layer` ends the network
    early: the output of the layer of that name is the feature map.
    """
    if config.backbone in OURS and config.weights:
        raise ConfigError(f"model.weights is {config.weights!r}, but {config.backbone} has no pre-trained weights")
    if config.backbone == "whitened":
        if config.layer is not None:
            raise ConfigError(
                f"model.layer is {config.layer!r}, but the whitened network cannot end early; leave it out"
            )
        return WhitenedTrunk((config.width // 2, 2 * config.width, 2 * config.width))
    if is_photographs(config.backbone):
        body, dim, *statistics = photograph_body(config.backbone, config.weights)
        if config.layer is not None:
            if not isinstance(body, nn.Sequential):
                raise ConfigError(
                    f"model.layer is {config.layer!r}, but {config.backbone} cannot end early; leave it out"
                )
            body, dim = _up_to(config.layer, body)
        return Trunk(body, dim, *statistics)
    if config.backbone == "small_resnet":
        body, dim = small_resnet(config.width, config.blocks)
    else:
        body, dim = _torchvision_body(config)
    if config.layer is not None:
        body, dim = _up_to(config.layer, body)
    for module in body.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # attribution methods read activations that an in-place ReLU overwrites
    _subsample_first(body)
    return Trunk(body, dim, *(HALF, HALF) if config.backbone == "inception_v3" else ())


def small_resnet(width: int, blocks: tuple[int, ...]) -> tuple[nn.Sequential, int]:
    """A 3x3 stem and `len(blocks)` stages of basic blocks (He et al. 2016, Sec. 4.2); returns body, channels."""
    from torchvision.models.resnet import BasicBlock, conv1x1

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
    from torchvision import models as tv

    from fglib.models.weights import load_torchvision_weights

    families = ("resnet", "resnext", "wide_resnet", "regnet", "inception")
    known = [n for n in tv.list_models(module=tv) if n.startswith(families)]
    if config.backbone not in known:
        raise unknown("backbone", config.backbone, [*known, *OURS, LITE0])
    # said outright, because torchvision warns that the default of its InceptionV3 will change
    options = {"init_weights": not config.weights} if config.backbone == "inception_v3" else {}
    network = tv.get_model(config.backbone, weights=None, **options)
    if config.weights:
        load_torchvision_weights(network, config.backbone, config.weights)
    dim = network.fc.in_features
    parts = OrderedDict((n, m) for n, m in network.named_children() if n not in OUTSIDE)
    if config.stem == "32px":
        if "conv1" not in parts:
            raise ConfigError(f"stem 32px is for ResNets, not {config.backbone}; use stem 224px")
        parts["conv1"] = nn.Conv2d(3, parts["conv1"].out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(parts["conv1"].weight, mode="fan_out", nonlinearity="relu")
        del parts["maxpool"]
    return nn.Sequential(parts), dim


class SubsampledConv2d(nn.Conv2d):
    """A strided 1x1 convolution in two steps: take every second pixel, then convolve with stride 1; the same numbers.

    oneDNN's own backward pass writes outside of its memory where the pixels lie in channels_last order and there are
    fewer input channels than a SIMD register holds (uxlfoundation/oneDNN issue 6035): wrong gradients or a crash.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.stride
        return F.conv2d(x[:, :, ::rows, ::columns], self.weight, self.bias, groups=self.groups)


def _subsample_first(body: nn.Module) -> None:
    """Make every narrow strided 1x1 convolution of a network a `SubsampledConv2d`, with the weights it has."""
    for module in body.modules():
        if (
            type(module) is nn.Conv2d
            and module.kernel_size == (1, 1)
            and module.stride != (1, 1)
            and module.padding == (0, 0)
            and module.in_channels // module.groups < SIMD
        ):
            module.__class__ = SubsampledConv2d  # keeps its weights, its names and the draws from the seed


def _up_to(layer: str, body: nn.Sequential) -> tuple[nn.Sequential, int]:
    """The body up to and with the layer of that name, and its number of channels."""
    names = [name for name, _ in body.named_children()]
    check_known("layer", layer, names, "model.layer")
    body = body[: names.index(layer) + 1]
    with torch.no_grad():  # on no device: only the shape is asked for
        maps = copy.deepcopy(body).to("meta").eval()(torch.empty(1, 3, 128, 128, device="meta"))
    return body, maps.shape[1]
