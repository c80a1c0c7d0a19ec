"""Optimizers and groups of parameters: each with its own factor of the learning rate and its own weight decay."""

import pytest
import torch
from tiny import ready
from torch import nn

from fglib.methods import Batch, Method
from fglib.train import build_optimizer, sgd, training_step

NOTHING = Batch(torch.zeros(1, 1, 3, 2, 2), torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))


class Two(Method):
    """Two numbers, the loss their sum weighted 1 and 10."""

    def __init__(self, groups=None):
        super().__init__(nn.Identity())
        self.a, self.b = (nn.Parameter(torch.tensor([value])) for value in (2.0, 3.0))
        self.groups = groups

    def parameter_groups(self):
        if self.groups is None:
            return super().parameter_groups()
        return [{"params": [p], **settings} for p, settings in zip((self.a, self.b), self.groups)]

    def loss(self, batch):
        return {"total": (self.a + 10 * self.b).sum()}


def after_one_step(method, rate=0.1, decay=0.5):
    _, _, config = ready(momentum=0.0, weight_decay=decay)
    optimizer = sgd(method, config.train, torch.device("cpu"))
    training_step(method, optimizer, NOTHING, rate, None)
    return method.a.item(), method.b.item()


def test_all_parameters_are_trained_alike_unless_a_method_says_otherwise():
    torch.testing.assert_close(after_one_step(Two()), (2.0 - 0.1 * (1 + 0.5 * 2.0), 3.0 - 0.1 * (10 + 0.5 * 3.0)))


def test_a_group_has_its_own_rate_and_decay():
    a, b = after_one_step(Two([{"rate": 3.0}, {"weight_decay": 0.0}]))
    torch.testing.assert_close((a, b), (2.0 - 0.3 * (1 + 0.5 * 2.0), 3.0 - 0.1 * 10))


def test_what_is_not_the_trunk_has_a_rate_of_its_own():
    class Headed(Two):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Linear(1, 1)

        def loss(self, batch):
            return {"total": (self.a + 10 * self.b).sum() + self.trunk(torch.ones(1, 1)).sum()}

    method = Headed()
    start = method.trunk.weight.item()
    _, _, config = ready(momentum=0.0, weight_decay=0.0, lr_heads=10.0)
    optimizer = build_optimizer(method, config.train, torch.device("cpu"))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
    training_step(method, optimizer, NOTHING, 0.01, None)
    assert method.trunk.weight.item() == pytest.approx(start - 0.01)
    assert method.a.item() == pytest.approx(2.0 - 0.1) and method.b.item() == pytest.approx(3.0 - 1.0)


def test_the_factor_of_the_heads_multiplies_that_of_a_group():
    method = Two([{"rate": 3.0}, {"weight_decay": 0.25}])
    _, _, config = ready(momentum=0.0, weight_decay=0.5, lr_heads=2.0)
    optimizer = build_optimizer(method, config.train, torch.device("cpu"))
    assert [(group["rate"], group["weight_decay"]) for group in optimizer.param_groups] == [(6.0, 0.5), (2.0, 0.25)]


def test_adamw_divides_by_the_size_of_the_gradient_and_decays_apart():
    """The first step of Adam has the size of the rate, whatever the gradient; decay is rate times weight."""
    method = Two()
    _, _, config = ready(optimizer="adamw", momentum=0.8, weight_decay=0.5)
    optimizer = build_optimizer(method, config.train, torch.device("cpu"))
    training_step(method, optimizer, NOTHING, 0.1, None)
    assert method.a.item() == pytest.approx(2.0 - 0.1 * 0.5 * 2.0 - 0.1, rel=1e-5)
    assert method.b.item() == pytest.approx(3.0 - 0.1 * 0.5 * 3.0 - 0.1, rel=1e-5)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)
