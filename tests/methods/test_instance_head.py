"""Options of W^I: its start, its own rate and decay."""

import dataclasses

import pytest
import torch
from tiny import CONFIG, dataset

from fglib.config import MethodConfig
from fglib.errors import ConfigError
from fglib.lab.run import start, training_view
from fglib.methods import Batch
from fglib.train import fit


def method(name="base_indi_eff", **options):
    config = dataclasses.replace(CONFIG, method=MethodConfig(name, options))
    return start(config, dataset()), config


@pytest.mark.parametrize("name", ["indi", "base_indi", "base_indi_eff"])
def test_the_defaults_treat_it_as_all_other_weights(name):
    built, _ = method(name)
    rest, own = built.parameter_groups()
    assert own == {"params": [built.instance_head.weight], "rate": 1.0}
    assert {id(p) for p in [*rest["params"], *own["params"]]} == {id(p) for p in built.parameters()}
    assert built.instance_head.weight.abs().sum() > 0


@pytest.mark.parametrize("name", ["indi", "base_indi", "base_indi_eff"])
def test_its_own_rate_decay_and_start(name):
    built, config = method(name, instance_rate=10.0, instance_decay=0.0, instance_start="zero")
    assert not built.instance_head.weight.any()
    assert built.parameter_groups()[1] == {
        "params": [built.instance_head.weight],
        "rate": 10.0,
        "weight_decay": 0.0,
    }
    fit(built, training_view(config, dataset()), config)
    assert built.instance_head.weight.any()  # a start at zero is left


def test_at_zero_every_image_is_as_likely_as_any_other():
    built, _ = method("indi", instance_start="zero")
    images = torch.rand(1, 5, 3, 16, 16)
    n = len(built.instance_head.weight)
    loss = built.loss(Batch(images, torch.zeros(5, dtype=torch.long), torch.arange(5)))["total"]
    torch.testing.assert_close(loss.detach(), torch.tensor(float(n)).log())


@pytest.mark.parametrize("options", [{"instance_rate": 0.0}, {"instance_decay": -1.0}, {"instance_start": "ones"}])
def test_options_that_do_not_fit_are_named(options):
    with pytest.raises(ConfigError, match="instance_rate is .*a rate is above 0"):
        method(**options)
