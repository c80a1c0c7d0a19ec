"""Methods take a trunk's features in any float type, and follow a cast of their own."""

import pytest
import torch
from test_train import ready_for
from torch import nn

from fglib.methods import METHODS, Batch, Task
from fglib.models import Upsampler, build_trunk

SCORED = ("embed", "logits", "class_maps", "location_maps")


class Rounded(nn.Module):
    """A user's own trunk, or up-sampler, whose output has another type."""

    def __init__(self, inner, dtype):
        super().__init__()
        self.inner, self.dtype, self.dim = inner, dtype, getattr(inner, "dim", None)

    def maps(self, images):
        return self.inner.maps(images).to(self.dtype)

    def forward(self, *inputs):
        return self.inner(*inputs).to(self.dtype)


def on(name, dtype):
    """(method on such a trunk, batch)"""
    _, train, config = ready_for(name)
    task = Task.of(train, config.data.coarse, config.data.fine if config.use_fine else None)
    torch.manual_seed(0)
    trunk = build_trunk(config.model) if METHODS[name].builds_trunk else None
    method = METHODS[name](trunk and Rounded(trunk, dtype), task)
    if trunk is None:
        method.trunk = Rounded(Upsampler(), dtype)
    index = torch.arange(8)
    images = train.pixels(index).float() / 255
    fine = train.labels(config.data.fine)[index] if config.use_fine else None
    return method, Batch(torch.stack([images, images.flip(3)]), train.labels(config.data.coarse)[index], index, fine)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("name", METHODS)
def test_a_trunk_may_give_its_features_in_any_float_type(name, dtype):
    totals, values = [], []
    for given in (dtype, torch.float32):
        method, batch = on(name, given)
        if hasattr(method, "memory"):
            method.memory.fill(torch.randn(len(method.memory.vectors), method.dim))
        torch.manual_seed(1)
        total = method.loss(batch)["total"]
        total.backward()
        method.after_step(batch)
        assert all(p.grad.isfinite().all() for p in method.parameters() if p.requires_grad and p.grad is not None)
        assert any(p.grad is not None and p.grad.any() for p in method.trunk.parameters())
        totals.append(total)
        method.eval()
        with torch.no_grad():
            scored = [getattr(method, n)(batch.views[0]) for n in SCORED if hasattr(method, n)]
        assert all(v.dtype == torch.float32 for v in scored)
        values.append(scored)
    torch.testing.assert_close(*totals, rtol=0.05, atol=0.05, check_dtype=False)
    assert len(values[0]) == len(values[1]) >= 1


@pytest.mark.parametrize("name", METHODS)
def test_a_method_in_float64_computes_in_float64(name):
    method, batch = on(name, torch.float64)
    method.double()
    batch = Batch(batch.views.double(), batch.coarse, batch.index, batch.fine_labels)
    if hasattr(method, "memory"):
        method.memory.fill(torch.randn(len(method.memory.vectors), method.dim, dtype=torch.float64))
    torch.manual_seed(1)
    parts = method.loss(batch)
    parts["total"].backward()
    method.after_step(batch)
    assert parts["total"].dtype == torch.float64
    with torch.no_grad():
        for scored in (getattr(method.eval(), n)(batch.views[0]) for n in SCORED if hasattr(method, n)):
            assert scored.dtype == torch.float64
            assert (scored != scored.float().double()).any()  # digits beyond float32
