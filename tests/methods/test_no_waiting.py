"""A training step runs on an accelerator: no tensor stays on the processor, and the processor waits for no number.

Tensors on a pretended device carry shapes and no values: whatever would have to read one raises, and so does whatever
mixes devices. Backward passes need a real device.
"""

from contextlib import contextmanager

import pytest
import torch
from test_train import ready_for
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from fglib.config import AugmentConfig
from fglib.data.augment import Augment
from fglib.methods import METHODS, Batch

WAITING = {"base_indi_eff": "the bounds of its groups, once a step"}
SCORED = ("embed", "logits", "class_maps", "location_maps")
EVERYTHING = AugmentConfig(
    views=2,
    pad_crop=2,
    flip=True,
    degrees=10.0,
    translate=0.1,
    scale=(0.9, 1.1),
    resized_crop=(0.5, 1.0),
    randaugment=(2, 9.0),
    erasing=0.5,
)


def pretend(method, place="cuda"):
    """The method's parameters and buffers, without values, on a device that need not be there."""
    for module in method.modules():
        for name, p in list(module._parameters.items()):
            if p is not None:
                module._parameters[name] = torch.nn.Parameter(torch.empty_like(p, device=place), p.requires_grad)
        for name, b in list(module._buffers.items()):
            if b is not None:
                module._buffers[name] = torch.empty_like(b, device=place)


@contextmanager
def autocast(enabled):
    """bfloat16 on the pretended device; `torch.autocast` switches itself off where there is no real one."""
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", enabled)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()


def step(name, size, amp):
    method, _, config = ready_for(name)
    with FakeTensorMode(allow_non_fake_inputs=True):
        pretend(method)
        views = Augment(EVERYTHING, (16, 16))(torch.empty(size, 3, 16, 16, dtype=torch.uint8, device="cuda"))
        indices = [torch.empty(size, dtype=torch.long, device="cuda") for _ in range(3)]
        batch = Batch(views, indices[0], indices[1], indices[2] if config.use_fine else None, 0.5)
        with autocast(amp):
            product = torch.empty(2, 2, device="cuda") @ torch.empty(2, 2, device="cuda")
            assert product.dtype == (torch.bfloat16 if amp else torch.float32)
            parts = method.loss(batch)
        method.after_step(batch)
        assert {part.device.type for part in (views, *parts.values())} == {"cuda"}
        assert parts["total"].dtype == torch.float32
        with torch.no_grad():
            for scored in (getattr(method.eval(), n)(views[0]) for n in SCORED if hasattr(method, n)):
                assert scored.device.type == "cuda" and scored.dtype == torch.float32 and len(scored) == size


@pytest.mark.parametrize(("size", "amp"), [(8, False), (5, True)])
@pytest.mark.parametrize("name", sorted(METHODS.keys() - WAITING.keys()))
def test_a_step_and_the_scores_are_computed_without_waiting(name, size, amp):
    step(name, size, amp)


@pytest.mark.parametrize("name", WAITING)
def test_the_one_wait_is_known(name):
    with pytest.raises(DataDependentOutputException):
        step(name, 8, False)


@pytest.mark.parametrize("name", WAITING)
def test_without_its_one_wait_the_rest_of_the_step_does_not_wait(name, monkeypatch):
    """The bounds of the groups given, loss and scores are computed on the device."""
    from fglib.losses import kernels

    monkeypatch.setattr(
        kernels, "_groups", lambda index, _: (index.argsort(), [(slice(0, 3), slice(2, 9)), (slice(3, 5), index)])
    )
    for amp in (False, True):
        step(name, 5, amp)
