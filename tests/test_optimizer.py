"""Groups of parameters: each with its own factor of the learning rate and its own weight decay."""

import torch
from tiny import ready
from torch import nn

from fglib.methods import Batch, Method
from fglib.train import sgd, training_step


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
    nothing = torch.zeros(1, dtype=torch.long)
    training_step(method, optimizer, Batch(torch.zeros(1, 1, 3, 2, 2), nothing, nothing), rate, None)
    return method.a.item(), method.b.item()


def test_all_parameters_are_trained_alike_unless_a_method_says_otherwise():
    torch.testing.assert_close(after_one_step(Two()), (2.0 - 0.1 * (1 + 0.5 * 2.0), 3.0 - 0.1 * (10 + 0.5 * 3.0)))


def test_a_group_has_its_own_rate_and_decay():
    a, b = after_one_step(Two([{"rate": 3.0}, {"weight_decay": 0.0}]))
    torch.testing.assert_close((a, b), (2.0 - 0.3 * (1 + 0.5 * 2.0), 3.0 - 0.1 * 10))
