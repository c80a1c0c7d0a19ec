"""A training step asks an accelerator for no number and no size, so that the processor never waits for it.

Tensors on a pretended device carry shapes and no values: whatever would have to read one raises.
"""

import pytest
import torch
from test_train import ready_for
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from fglib.methods import METHODS, Batch

WAITING = {"base_indi_eff": "the bounds of its groups, once a step"}


def pretend(method, place="cuda"):
    """The method's parameters and buffers, without values, on a device that need not be there."""
    for module in method.modules():
        for name, p in list(module._parameters.items()):
            if p is not None:
                module._parameters[name] = torch.nn.Parameter(torch.empty_like(p, device=place), p.requires_grad)
        for name, b in list(module._buffers.items()):
            if b is not None:
                module._buffers[name] = torch.empty_like(b, device=place)


def step(name, size=8):
    method, _, config = ready_for(name)
    with FakeTensorMode(allow_non_fake_inputs=True):
        pretend(method)
        indices = [torch.empty(size, dtype=torch.long, device="cuda") for _ in range(3)]
        fine = indices[2] if config.use_fine else None
        batch = Batch(torch.empty(2, size, 3, 16, 16, device="cuda"), indices[0], indices[1], fine, 0.5)
        parts = method.loss(batch)
        assert all(part.device.type == "cuda" for part in parts.values())
        method.after_step(batch)


@pytest.mark.parametrize("name", sorted(METHODS.keys() - WAITING.keys()))
def test_loss_and_state_are_computed_without_waiting(name):
    step(name)


@pytest.mark.parametrize("name", WAITING)
def test_the_one_wait_is_known(name):
    with pytest.raises(DataDependentOutputException):
        step(name)
