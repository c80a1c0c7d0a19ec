"""The moving average of a network: every parameter and buffer, one number at a time, and only of its own copy."""

import copy

import pytest
import torch
from torch import nn

from fglib.models import ema_update_


def network(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    for _ in range(seed + 1):
        net(torch.rand(5, 3, 8, 8) + seed)  # moves the running statistics and their count
    return net


def averaged_slowly(target, online, decay):
    """By name: decay times the old value plus the rest of the new, number by number; integers as they are online."""
    expected = {}
    for name, old in target.state_dict().items():
        new = online.state_dict()[name]
        if old.is_floating_point():
            values = [decay * a + (1 - decay) * b for a, b in zip(old.flatten().tolist(), new.flatten().tolist())]
            expected[name] = torch.tensor(values).view(old.shape)
        else:
            expected[name] = new.clone()
    return expected


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.996, 1.0])
def test_every_parameter_and_buffer_is_averaged_in_place(decay):
    target, online = network(0), network(3)
    expected, before = averaged_slowly(target, online, decay), state(online)
    if decay == 1:
        expected = state(target)
    places = [t.data_ptr() for t in target.state_dict().values()]
    ema_update_(target, online, decay)
    torch.testing.assert_close(state(target), expected)
    assert places == [t.data_ptr() for t in target.state_dict().values()]
    assert all(torch.equal(value, before[name]) for name, value in online.state_dict().items())
    names = {"1.running_mean", "1.running_var", "1.num_batches_tracked", "1.weight", "0.bias", "4.weight"}
    assert names <= set(expected)


def test_zero_copies_every_bit_and_one_changes_none():
    target, online = network(0), network(1)
    before = state(target)
    ema_update_(target, online, 1.0)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())
    ema_update_(target, online, 0.0)
    assert all(torch.equal(value, online.state_dict()[name]) for name, value in target.state_dict().items())
    assert target[1].num_batches_tracked == 2


def test_a_network_that_stands_still_is_approached_at_the_decays_rate():
    target, online = network(0), network(1)
    start, goal = target[0].weight.detach().clone(), online[0].weight.detach()
    for _ in range(10):
        ema_update_(target, online, 0.8)
    torch.testing.assert_close(target[0].weight.detach(), goal + 0.8**10 * (start - goal))


def test_a_copy_of_equals_stays_equal():
    online = network()
    target = copy.deepcopy(online)
    ema_update_(target, online, 0.996)
    assert all(torch.equal(value, online.state_dict()[name]) for name, value in target.state_dict().items())


def test_layout_and_gradients_of_the_target_are_left_alone():
    target, online = network(0).to(memory_format=torch.channels_last).requires_grad_(False), network(1)
    expected = averaged_slowly(target, online, 0.5)
    ema_update_(target, online, 0.5)
    torch.testing.assert_close(state(target), expected, check_stride=False)
    assert target[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(p.requires_grad for p in target.parameters()) and all(p.requires_grad for p in online.parameters())


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ValueError, match=rf"decay is {decay}, must be in \[0, 1\]"):
        ema_update_(nn.Linear(2, 2), nn.Linear(2, 2), decay)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("online", "words"),
    [
        (nn.Linear(2, 3, bias=False), "'bias' is in one of the two networks only"),
        (nn.Linear(4, 3), r"'weight' has shape \(3, 2\) in the target, \(3, 4\) online"),
        (nn.Sequential(nn.Linear(2, 3)), "'0.bias' is in one of the two networks only"),
    ],
)
def test_networks_that_differ_are_refused_and_nothing_is_written(online, words, decay):
    target = nn.Linear(2, 3)
    before = state(target)
    with pytest.raises(ValueError, match=words):
        ema_update_(target, online, decay)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_a_weight_that_is_not_finite_shows_in_the_average():
    target, online = network(), network(1)
    with torch.no_grad():
        online[0].weight[0, 0, 0, 0] = torch.nan
    ema_update_(target, online, 0.99)
    assert target[0].weight.isnan().sum() == 1
