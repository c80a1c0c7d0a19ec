"""Attention shares of small masks, and input of attributions that must be refused."""

import pytest
import torch
from torch import nn

from fglib.measure.explain import attention_map, attention_share, integrated_gradients, layer_grad_cam
from fglib.models.heads import class_activation_maps


def test_a_map_larger_than_the_mask_is_averaged_and_not_sampled():
    """One bright place of sixteen, which bilinear reading at the centers of a 2 x 2 image would miss or double."""
    attention = torch.zeros(1, 8, 8)
    attention[0, 0, 0] = 4.0
    mask = torch.tensor([[[True, False], [False, False]]])
    assert attention_share(attention, mask).item() > 3.5  # nearly all of it lies in the quarter


def test_the_share_does_not_depend_on_the_scale_of_the_map():
    draw = torch.Generator().manual_seed(0)
    attention, mask = torch.rand(2, 3, 5, generator=draw), torch.rand(2, 6, 10, generator=draw) > 0.5
    torch.testing.assert_close(attention_share(attention * 1e-20, mask), attention_share(attention, mask))


def test_the_power_acts_before_the_sum_over_channels():
    maps = attention_map(torch.tensor([3.0, 4.0]).view(1, 2, 1, 1) * torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(maps, torch.tensor([[[1.0, 4.0]]]) / 17**0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: attention_share(torch.ones(1, 2, 2).long(), torch.ones(1, 4, 4) > 0),
            "B, H, W. floats",
        ),
        (lambda: attention_share(torch.ones(1, 2, 2), torch.ones(4, 4) > 0), "mask has shape"),
        (lambda: class_activation_maps(torch.ones(1, 2, 2, 2), torch.ones(3, 2, dtype=torch.long)), "weight has shape"),
        (lambda: integrated_gradients(sum_of, torch.ones(0, 3, 4, 4), torch.ones(0)), r"images has shape \(0, 3"),
        (lambda: layer_grad_cam(sum_of, nn.Identity(), torch.ones(3, 4, 4), torch.ones(3)), r"images has shape \(3, 4"),
    ],
)
def test_input_that_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def sum_of(images, targets):
    return images.sum((1, 2, 3))


def test_the_callers_images_take_no_gradient():
    images = torch.rand(2, 3, 4, 4)
    integrated_gradients(sum_of, images, torch.zeros(2))
    assert not images.requires_grad and images.grad is None
