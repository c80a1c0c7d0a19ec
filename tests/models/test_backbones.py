"""Trunks: shapes, stems, widths, normalization, parameter counts of the published networks."""

import sys

import pytest
import torch
from processes import run
from torch import nn
from torchvision.models.resnet import conv1x1

from fglib.config import ModelConfig
from fglib.errors import ConfigError
from fglib.models import backbones, build_trunk
from fglib.models.backbones import SubsampledConv2d


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_small_resnet_doubles_channels_and_halves_the_map():
    trunk = build_trunk(ModelConfig("small_resnet", width=6, blocks=(1, 2, 1)))
    x = torch.rand(2, 3, 32, 32)
    assert trunk.dim == 24
    assert trunk.maps(x).shape == (2, 24, 8, 8) and trunk(x).shape == (2, 24)
    assert torch.allclose(trunk(x), trunk.maps(x).mean((2, 3)))


def test_resnet18_has_the_published_size_and_its_32px_stem_keeps_resolution():
    big = build_trunk(ModelConfig("resnet18"))
    assert parameters(big) == 11_689_512 - (512 * 1000 + 1000)
    small = build_trunk(ModelConfig("resnet18", stem="32px"))
    # a 3x3 convolution in place of a 7x7 one
    assert parameters(small) == parameters(big) - 3 * 64 * (49 - 9)
    x = torch.rand(1, 3, 32, 32)
    assert small.eval().maps(x).shape == (1, 512, 4, 4) and big.eval().maps(x).shape == (1, 512, 1, 1)


@pytest.mark.parametrize(("name", "dim"), [("resnext50_32x4d", 2048), ("regnet_y_400mf", 440)])
def test_other_torchvision_networks_by_name(name, dim):
    trunk = build_trunk(ModelConfig(name)).eval()
    assert trunk.dim == dim and trunk(torch.rand(1, 3, 64, 64)).shape == (1, dim)


def test_images_are_normalized_inside_and_no_relu_is_in_place():
    trunk = build_trunk(ModelConfig("resnet18", stem="32px")).eval()
    seen = []
    trunk.body.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    trunk(trunk.mean.expand(1, 3, 8, 8))
    assert torch.equal(seen[0], torch.zeros(1, 3, 8, 8))
    assert not any(m.inplace for m in trunk.modules() if isinstance(m, nn.ReLU))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig("resnet19"), "did you mean 'resnet18'"),
        (ModelConfig("regnet_y_400mf", stem="32px"), "stem 32px is for ResNets"),
        (ModelConfig("small_resnet", weights="IMAGENET1K_V1"), "no pre-trained weights"),
    ],
)
def test_what_cannot_be_built_is_named(config, message):
    with pytest.raises(ConfigError, match=message):
        build_trunk(config)


def test_a_network_ends_at_the_layer_that_is_named():
    whole, cut = (build_trunk(ModelConfig("resnet18", layer=layer)).eval() for layer in (None, "layer3"))
    assert cut.dim == 256 and cut.maps(torch.rand(1, 3, 64, 64)).shape == (1, 256, 4, 4)
    assert parameters(cut) == parameters(whole) - parameters(whole.body.layer4)
    small = build_trunk(ModelConfig("small_resnet", width=6, blocks=(1, 1, 1), layer="layer2"))
    assert small.dim == 12 and small.maps(torch.rand(2, 3, 16, 16)).shape == (2, 12, 8, 8)
    with pytest.raises(ConfigError, match="unknown layer 'layer5' .*did you mean 'layer4'"):
        build_trunk(ModelConfig("resnet18", layer="layer5"))


def test_inception_v3_gives_the_papers_768_channels_and_takes_pixels_from_minus_one_to_one():
    with torch.device("meta"):  # its start takes seconds to draw; shapes are enough
        trunk = build_trunk(ModelConfig("inception_v3", layer="Mixed_6e"))
        assert trunk.maps(torch.rand(1, 3, 448, 448)).shape == (1, trunk.dim, 26, 26) == (1, 768, 26, 26)
    whole = build_trunk(ModelConfig("inception_v3", layer="Conv2d_1a_3x3"))
    assert whole.mean.unique().tolist() == [0.5] and whole.std.unique().tolist() == [0.5]


def test_images_too_small_for_a_network_are_named():
    trunk = build_trunk(ModelConfig("inception_v3", layer="Mixed_5b")).eval()
    with pytest.raises(ConfigError, match=r"images of 20 x 20 pixels are too small for this network"):
        trunk.maps(torch.rand(1, 3, 20, 20))


NARROW = """
import torch
from fglib.config import ModelConfig
from fglib.models import build_trunk
for width in (4, 8, 12):
    trunk = build_trunk(ModelConfig("small_resnet", width=width, blocks=(1, 1))).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(trunk.parameters(), lr=0.01)
    for side in (48, 64, 128):
        images = torch.rand(24, 3, side, side)
        trunk(images).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(p.isfinite().all() for p in trunk.parameters())
"""


def test_narrow_networks_train_on_large_images():
    """In a process of its own: torch's own strided convolution writes outside of its memory here."""
    done = run(sys.executable, "-c", NARROW)
    assert done.returncode == 0, (done.returncode, done.stderr)


@pytest.mark.parametrize("side", [7, 16])
@pytest.mark.parametrize("channels", [3, 8])
def test_subsampling_first_is_the_strided_convolution(channels, side):
    """At sizes that torch's own survives: the same numbers, the same gradients."""
    ours, theirs = (conv1x1(channels, 5, 2).to(memory_format=torch.channels_last) for _ in range(2))
    ours.load_state_dict(theirs.state_dict())
    ours.__class__ = SubsampledConv2d
    images = torch.randn(4, channels, side, side).to(memory_format=torch.channels_last)
    found = []
    for convolution in (ours, theirs):
        x = images.clone().requires_grad_()
        y = convolution(x)
        y.square().sum().backward()
        found.append((y, x.grad, convolution.weight.grad))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b)


def test_only_narrow_strided_1x1_convolutions_are_replaced_and_no_weight_or_name_changes(monkeypatch):
    states = []
    for replace in (backbones._subsample_first, lambda body: None):
        monkeypatch.setattr(backbones, "_subsample_first", replace)
        torch.manual_seed(0)
        trunk = build_trunk(ModelConfig("small_resnet", width=8, blocks=(1, 1, 1)))
        states.append(trunk.state_dict())
        found = [name for name, m in trunk.body.named_modules() if isinstance(m, SubsampledConv2d)]
        # the shortcut of layer3 has 16 input channels
        assert found == (["layer2.0.downsample.0"] if len(states) == 1 else [])
    ours, plain = states
    assert list(ours) == list(plain) and all(torch.equal(ours[name], plain[name]) for name in ours)
