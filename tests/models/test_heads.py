"""Projectors and classifiers: their layers, and the parameter counts of Grafit's Table 5."""

import pytest
import torch
from torch import nn

from fglib.config import ModelConfig
from fglib.models import build_trunk
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
