"""Projectors and classifiers: their layers, the parameter counts of Grafit's Table 5, and class maps before pooling."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from fglib.config import ModelConfig
from fglib.models import ClassMapHead, DiversificationBlock, build_trunk, diversify
from fglib.models.heads import linear_projector, mlp, mlp_classifier


def parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize("stem", ["224px", "32px"])
def test_resnet50_has_the_papers_parameter_counts(stem):
    trunk = build_trunk(ModelConfig("resnet50", stem=stem))
    counts = [parameters(trunk), parameters(trunk, linear_projector(trunk.dim)), parameters(trunk, mlp(trunk.dim))]
    assert [round(count / 1e6, 1) for count in counts] == [23.5, 23.8, 32.9]


def test_the_linear_projector_is_a_product():
    head, x = linear_projector(6, 4), torch.randn(5, 6)
    assert linear_projector(6)(x).shape == (5, 128) and parameters(head) == 24
    torch.testing.assert_close(head(x), x @ head.weight.T)


def test_the_mlp_is_two_products_around_a_batch_normalization_and_a_relu():
    head, x = mlp(6, 3), torch.randn(9, 6)
    first, last = head[0].weight, head[-1].weight
    assert first.shape == (12, 6) and last.shape == (3, 12) and parameters(head) == first.numel() + last.numel()
    hidden = x @ first.T
    normalized = (hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(head(x), normalized.clamp(min=0) @ last.T)
    assert mlp(6)(x).shape == (9, 256) and mlp(6, 3, hidden=24)[0].weight.shape == (24, 6)


def test_the_mlp_classifier_is_two_linear_layers_around_a_batch_normalization_and_a_relu():
    head, x = mlp_classifier(6, 4), torch.randn(9, 6)
    assert [type(layer) for layer in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert head(x).shape == (9, 4) and parameters(head) == (36 + 6) + 12 + (24 + 4)


# A classifier at every place


def places(dtype=torch.float32):
    """A classifier of 6 channels into 4 classes, and feature maps (3, 6, 5, 2)."""
    draw = torch.Generator().manual_seed(0)
    linear = nn.Linear(6, 4).to(dtype)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(4, 6, generator=draw))
        linear.bias.copy_(torch.randn(4, generator=draw))
    return linear, torch.randn(3, 6, 5, 2, generator=draw).to(dtype)


def test_class_maps_are_the_classifier_at_every_place_and_their_mean_its_scores():
    linear, features = places(torch.float64)
    head = ClassMapHead(linear)
    maps = head.maps(features)
    assert maps.shape == (3, 4, 5, 2)
    for i in range(5):
        for j in range(2):
            torch.testing.assert_close(maps[:, :, i, j], linear(features[:, :, i, j]))
    assert torch.equal(head(features), linear(features.mean((2, 3))))
    torch.testing.assert_close(maps.mean((2, 3)), head(features))


def test_the_head_is_the_linear_layer_and_has_no_parameter_more():
    linear, _ = places()
    head = ClassMapHead(linear, DiversificationBlock())
    assert [id(p) for p in head.parameters()] == [id(linear.weight), id(linear.bias)] and not list(head.buffers())
    # and draws none: the numbers after it are those after a linear layer
    torch.manual_seed(3)
    plain, after = nn.Linear(6, 4), torch.rand(2)
    torch.manual_seed(3)
    head, also = ClassMapHead(nn.Linear(6, 4), DiversificationBlock()), torch.rand(2)
    assert torch.equal(head.linear.weight, plain.weight) and torch.equal(head.linear.bias, plain.bias)
    assert torch.equal(after, also)


def test_the_block_acts_on_the_maps_in_training_alone():
    linear, features = places()
    head = ClassMapHead(linear, DiversificationBlock(p_peak=1.0, p_patch=0.0, alpha=0.25))
    maps = head.maps(features)
    peaks, patches = torch.ones(3, 4, dtype=torch.bool), torch.zeros(3, 4, 2, 1, dtype=torch.bool)
    expected = diversify(maps, peaks, patches, 3, 0.25).mean((2, 3))
    torch.testing.assert_close(head(features), expected)
    assert (expected - maps.mean((2, 3))).abs().min() > 1e-3
    assert torch.equal(head.maps(features), maps)  # which nothing suppresses
    torch.testing.assert_close(head.eval()(features), linear(features.mean((2, 3))))


@pytest.mark.parametrize("block", [None, DiversificationBlock(alpha=1.0)])
def test_scores_are_not_rounded_under_autocast(block):
    """In bfloat16 the scores of many classes tie, and so do peaks of maps."""
    linear, features = places()
    head, features = ClassMapHead(linear, block), features.bfloat16()
    expected = linear.double()(features.double().mean((2, 3)))
    linear.float()
    with torch.autocast("cpu", torch.bfloat16):
        scores, maps = head(features), head.maps(features)
    assert scores.dtype == maps.dtype == torch.float32
    torch.testing.assert_close(scores, expected.float())
    torch.testing.assert_close(maps.mean((2, 3)), expected.float())


def test_two_lines_put_it_into_another_network():
    torch.manual_seed(0)
    net, images = resnet18(num_classes=7).eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        scores, weights = net(images), parameters(net)
        net.avgpool = ClassMapHead(net.fc, DiversificationBlock())
        net.fc = nn.Identity()
        net.eval()  # as new modules start in training
        assert parameters(net) == weights
        torch.testing.assert_close(net(images), scores)
        assert net.avgpool.maps(torch.rand(2, 512, 2, 2)).shape == (2, 7, 2, 2)
        net.avgpool.train()
        assert (net(images) - scores).abs().max() > 1e-3
    net(images).sum().backward()
    assert net.conv1.weight.grad.abs().sum() > 0
