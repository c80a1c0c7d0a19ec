"""Attributions and class maps are of the image's own class at the level that is trained on, and of no other."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import CONFIG

from fglib.config import MethodConfig
from fglib.data.images import DataSet
from fglib.data.made.patches import nested_patches
from fglib.lab.run import start
from fglib.measure import Trained
from fglib.measure import subtle as module
from fglib.measure.explain import attention_share
from fglib.measure.patterns import attention, attribution


@pytest.fixture(scope="module")
def data():
    return DataSet("nested_patches", *nested_patches(16, classes=3, children=2, images=12))


def untrained(data, name):
    """Weights that tell classes and images well apart."""
    config = dataclasses.replace(CONFIG, method=MethodConfig(name), use_fine=name == "fine")
    torch.manual_seed(0)
    method = start(config, data).eval()
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return Trained(method, data, config)


ROWS = [0, 2, 5, 8, 11]  # five of twelve, evenly


def own_score(trained, row, f, shift=0):
    """Sum of the logits (n,) of features f (n, d) for the classes that a training image is trained as."""
    method, train = trained.method, trained.data.train
    total = 0
    for head, labels in (
        ("super_head", train.labels("big")),
        ("fine_head", train.labels("small")),
        ("instance_head", torch.arange(12)),
    ):
        if hasattr(method, head):
            logits = getattr(method, head)(f)
            total = total + logits[:, (labels[row] + shift) % logits.shape[1]]
    return total


def integrated_slowly(trained, row, shift=0):
    """Integrated Gradients from black (H, W), by Gauss and Legendre's rule of 32 points."""
    image = pixels(trained)[row]
    x, w = (torch.from_numpy(v).float()[:, None, None, None] for v in np.polynomial.legendre.leggauss(32))
    points = (image * (1 + x) / 2).requires_grad_()
    (gradients,) = torch.autograd.grad(own_score(trained, row, trained.method.trunk(points), shift).sum(), points)
    return ((w / 2 * gradients).sum(0) * image).abs().sum(0)


def grad_cam_slowly(trained, row, shift=0):
    """Channels of the last maps, each times its mean gradient; their sum where positive, at the size of the image."""
    maps = trained.method.trunk.maps(pixels(trained)[row, None]).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(own_score(trained, row, maps.mean((2, 3)), shift).sum(), maps)
    cam = (gradient.mean((2, 3), keepdim=True) * maps.detach()).sum(1).clamp(min=0)
    return torch.nn.functional.interpolate(cam[None], (16, 16), mode="bilinear", align_corners=False)[0, 0]


def pixels(trained):
    return trained.data.train.images.float() / 255


@pytest.mark.parametrize("name", ["base", "fine", "base_indi"])
def test_attributions_are_of_the_images_own_classes(data, name):
    trained = untrained(data, name)
    trained.method.train()  # as training leaves it; attributions are of the method in evaluation
    metrics, arrays = attribution(trained, images=5, shown=2)
    assert not trained.method.training
    shown = [0, 4]  # of the five
    assert np.array_equal(arrays["attribution_images"], data.train.images[[ROWS[k] for k in shown]].numpy())
    for kind, slowly in (("ig", integrated_slowly), ("gradcam", grad_cam_slowly)):
        maps = torch.stack([slowly(trained, row) for row in ROWS])
        close = {"rtol": 5e-3, "atol": 1e-3 * maps.max().item()}
        for k, found in zip(shown, arrays[f"{kind}_maps"].astype(np.float32)):
            np.testing.assert_allclose(found, maps[k], **close)
            assert not np.allclose(found, slowly(trained, ROWS[k], shift=1), **close)
        assert set(data.train.masks) == {"big", "small"}
        for mask, where in data.train.masks.items():
            shares = attention_share(maps, where[ROWS])
            assert metrics[f"{kind}_{mask}"] == pytest.approx(shares.nanmean().item(), rel=1e-3)


@torch.no_grad()
def test_attention_is_of_the_training_images_at_the_last_maps(data):
    trained = untrained(data, "base")
    metrics, arrays = attention(trained, shown=2)
    energy = trained.method.trunk.maps(pixels(trained)).square().sum(1)
    maps = energy / energy.flatten(1).norm(dim=1)[:, None, None]
    np.testing.assert_allclose(arrays["attention_maps"], maps[[0, 11]], rtol=2e-3, atol=1e-4)
    assert np.array_equal(arrays["attention_images"], data.train.images[[0, 11]].numpy())
    for mask, where in data.train.masks.items():
        assert metrics[f"attention_{mask}"] == pytest.approx(attention_share(maps, where).nanmean().item(), rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("batch", [5, 128])
def test_class_maps_are_of_the_own_class_of_the_level_that_is_trained_on(data, monkeypatch, batch):
    """Batch by batch, with the coarse labels, though finer ones are known."""
    monkeypatch.setattr(module, "BATCH", batch)
    trained = untrained(data, "plain")
    _, arrays = module.class_maps(trained, shown=12)
    every = trained.method.class_maps(data.test.images.float() / 255).clamp(min=0)  # (12, 3, h, w)
    assert every.shape[1] == 3
    for found, maps, label, name in zip(arrays["cam_maps"], every, data.test.labels("big"), arrays["cam_names"]):
        np.testing.assert_allclose(found.astype(np.float32), maps[label], rtol=2e-3, atol=1e-3)
        assert name == data.hierarchy.classes["big"][label]
        assert not any(np.allclose(found, maps[c], rtol=2e-2, atol=1e-2) for c in range(3) if c != label)
