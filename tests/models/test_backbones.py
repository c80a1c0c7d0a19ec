"""Trunks: shapes, stems, widths, normalization, parameter counts of the published networks."""

import pytest
import torch
from torch import nn

from fglib.config import ModelConfig
from fglib.errors import ConfigError
from fglib.models import build_trunk


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
        (ModelConfig("resnet18", stem="32"), "did you mean '32px'"),
        (ModelConfig("regnet_y_400mf", stem="32px"), "stem 32px is for ResNets"),
        (ModelConfig("small_resnet", weights="IMAGENET1K_V1"), "no pre-trained weights"),
    ],
)
def test_what_cannot_be_built_is_named(config, message):
    with pytest.raises(ConfigError, match=message):
        build_trunk(config)


def test_weights_that_cannot_be_fetched_say_where_to_put_them(monkeypatch):
    from torchvision import models as tv

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(tv, "get_model", offline)
    with pytest.raises(ConfigError, match="IMAGENET1K_V1 of resnet18 could not be fetched.*checkpoints"):
        build_trunk(ModelConfig("resnet18", weights="IMAGENET1K_V1"))
