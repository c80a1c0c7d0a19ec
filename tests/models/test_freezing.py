"""Frozen stages and frozen statistics: what moves in a step of training, and what does not."""

import copy

import pytest
import torch
from torch import nn

from fglib.config import ModelConfig
from fglib.errors import ConfigError
from fglib.models.backbones import build_trunk
from fglib.models.freezing import freeze, stages

IMAGES = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) ** 3


@pytest.fixture
def trunk():
    torch.manual_seed(0)
    return build_trunk(ModelConfig(backbone="small_resnet", width=4, blocks=(1, 1)))


def moved(trunk, **how):
    """Names of the weights and of the statistics that a step of training changes."""
    freeze(trunk, **how)
    trunk.train()
    before = copy.deepcopy(trunk.state_dict())
    optimizer = torch.optim.SGD(trunk.parameters(), lr=0.1, weight_decay=0.1)
    trunk(IMAGES).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in trunk.state_dict().items() if not torch.equal(value, before[name])}
    statistics = {name for name in changed if "running" in name or "tracked" in name}
    return {name.split(".")[1] for name in changed - statistics}, {name.split(".")[1] for name in statistics}


def test_by_default_all_of_it_moves(trunk):
    everything = {"stem", "layer1", "layer2"}
    assert moved(trunk) == (everything, everything)


@pytest.mark.parametrize(
    ("up_to", "trained"), [("stem", {"layer1", "layer2"}), ("layer1", {"layer2"}), ("layer2", set())]
)
def test_stages_up_to_the_named_one_stay(trunk, up_to, trained):
    freeze(trunk, up_to)
    if trained:
        assert moved(trunk, up_to=up_to) == (trained, trained)
    else:
        assert not any(p.requires_grad for p in trunk.parameters())


def test_statistics_can_stay_while_weights_move(trunk):
    weights, statistics = moved(trunk, norms=True)
    assert weights == {"stem", "layer1", "layer2"} and statistics == set()


def test_frozen_normalization_is_that_of_evaluation_through_every_change_of_mode(trunk):
    with torch.no_grad():
        trunk.train()(IMAGES)  # statistics that are not those of the batch
        expected = trunk.eval()(IMAGES)
    freeze(trunk, norms=True)
    names = [type(m).__name__ for m in trunk.modules() if isinstance(m, nn.BatchNorm2d)]
    assert set(names) == {"FrozenBatchNorm2d"}
    for mode in (True, False, True):
        torch.testing.assert_close(trunk.train(mode)(IMAGES), expected)
    freeze(trunk, norms=True)  # twice is once
    torch.testing.assert_close(copy.deepcopy(trunk).train()(IMAGES), expected)
    assert set(trunk.state_dict()) == set(build_trunk(ModelConfig("small_resnet", width=4, blocks=(1, 1))).state_dict())


def test_statistics_alone_change_what_a_network_says(trunk):
    """At rate zero a step in training mode moves the features, unless the statistics are frozen."""
    frozen = copy.deepcopy(trunk)
    freeze(frozen, norms=True)
    for network, moves in ((trunk, True), (frozen, False)):
        with torch.no_grad():
            before = network.eval()(IMAGES)
            network.train()(IMAGES)
            after = network.eval()(IMAGES)
        assert torch.equal(before, after) != moves


def test_a_stage_that_is_not_there_and_a_trunk_without_any_are_named(trunk):
    with pytest.raises(ConfigError, match="unknown stage 'layer7' in train.freeze"):
        freeze(trunk, "layer7")
    with pytest.raises(ConfigError, match="for trunks with stages"):
        freeze(nn.Linear(2, 2), "layer1")
    assert list(stages(trunk)) == ["stem", "layer1", "layer2"]
