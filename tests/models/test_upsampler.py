"""The up-sampler: sizes, maps that do not see each other, what it can learn; bilinear resizing pixel by pixel."""

import math

import pytest
import torch
from torch import nn

from fglib.models import Upsampler, bilinear_upsample


def maps(*size):
    return torch.rand(*size, generator=torch.Generator().manual_seed(0))


def bilinear_slowly(values, height, width):
    """Pixel centers at half integers of the image's square, clamped at the border; one pixel at a time."""
    h, w = len(values), len(values[0])

    def at(place, old, new):
        x = min(max((place + 0.5) * old / new - 0.5, 0), old - 1)
        low = math.floor(x)
        return low, min(low + 1, old - 1), x - low

    rows = []
    for i in range(height):
        top, bottom, v = at(i, h, height)
        row = []
        for j in range(width):
            left, right, u = at(j, w, width)
            above = (1 - u) * values[top][left] + u * values[top][right]
            row.append((1 - v) * above + v * ((1 - u) * values[bottom][left] + u * values[bottom][right]))
        rows.append(row)
    return rows


@pytest.mark.parametrize("size", [(12, 12), (13, 7), (4, 5), (1, 1), (3, 20)])
def test_bilinear_upsample_is_the_interpolation_of_four_neighbours(size):
    small = maps(2, 3, 4, 5).double()
    large = bilinear_upsample(small, size)
    expected = [[bilinear_slowly(each, *size) for each in image] for image in small.tolist()]
    torch.testing.assert_close(large, torch.tensor(expected, dtype=torch.float64))
    assert small.min() <= large.min() and large.max() <= small.max()


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
@pytest.mark.parametrize("number", [1, 3])
def test_a_map_is_doubled_by_one_network_until_it_has_the_size(factor, number):
    upsampler, calls = Upsampler(), []
    upsampler.doubling.register_forward_hook(lambda *_: calls.append(1))
    size = (3 * factor, 5 * factor)
    small = maps(2, number, 3, 5)
    large = upsampler(small, size)
    doublings = len(calls)
    assert large.shape == (2, number, *size) and 2**doublings == factor
    again = small.flatten(0, 1)[:, None]
    for _ in range(doublings):
        again = upsampler.doubling(again)
    assert torch.equal(large, again[:, 0].unflatten(0, (2, number)))


@pytest.mark.parametrize(("side", "size", "doublings"), [(26, 448, 4), (17, 299, 4), (3, 15, 2), (4, 5, 1), (4, 4, 1)])
def test_the_number_of_doublings_that_comes_nearest(side, size, doublings):
    upsampler, calls = Upsampler(2), []
    upsampler.doubling.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        assert upsampler(maps(1, 1, side, side), (size, size)).shape == (1, 1, size, size)
    assert len(calls) == doublings


def test_the_doubling_is_a_transposed_convolution_and_one_back_to_a_map():
    layers = Upsampler(width=4).doubling
    assert [type(layer) for layer in layers] == [nn.ConvTranspose2d, nn.ReLU, nn.Conv2d]
    assert [tuple(layer.weight.shape) for layer in layers if not isinstance(layer, nn.ReLU)] == [
        (1, 4, 4, 4),
        (1, 4, 3, 3),
    ]


def test_each_map_is_treated_by_itself_and_all_alike():
    torch.manual_seed(0)
    upsampler, small = Upsampler(4), maps(2, 3, 4, 5)
    together = upsampler(small, (16, 20))
    for b in range(2):
        for m in range(3):
            torch.testing.assert_close(together[b, m], upsampler(small[b : b + 1, m : m + 1], (16, 20))[0, 0])
    assert not torch.allclose(together[0, 0], together[0, 1])


def test_what_doublings_leave_is_done_bilinearly():
    torch.manual_seed(0)
    upsampler, small = Upsampler(4), maps(2, 3, 4, 5)
    own = upsampler(small, (16, 20))
    torch.testing.assert_close(upsampler(small, (17, 23)), bilinear_upsample(own, (17, 23)))


def test_it_learns_to_double_bilinearly():
    torch.manual_seed(0)
    upsampler = Upsampler(width=8)
    optimizer = torch.optim.Adam(upsampler.parameters(), lr=0.01)
    small = maps(16, 1, 6, 6)
    target = bilinear_upsample(small, (12, 12))
    losses = []
    for _ in range(150):
        loss = (upsampler(small, (12, 12)) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * target.var().item() < losses[0]


def test_gradients_reach_the_maps():
    torch.manual_seed(0)
    upsampler = Upsampler(width=2).double()
    small = maps(1, 2, 2, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: upsampler(x, (5, 7)), (small,))


def test_layout_does_not_count():
    torch.manual_seed(0)
    upsampler, small = Upsampler(4), maps(2, 3, 4, 5)
    last = small.to(memory_format=torch.channels_last)
    assert not last.is_contiguous()
    large = upsampler(small, (16, 20))
    torch.testing.assert_close(upsampler(last, (16, 20)), large)
    torch.testing.assert_close(upsampler.to(memory_format=torch.channels_last)(last, (16, 20)), large)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    torch.manual_seed(0)
    upsampler, small = Upsampler(2), maps(1, 2, 3, 3)
    full = upsampler(small, (7, 7))
    large = upsampler.to(dtype)(small.to(dtype), (7, 7))
    assert large.dtype == dtype
    torch.testing.assert_close(large.float(), full, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Upsampler(0), ["width is 0"]),
        (lambda: Upsampler()(torch.zeros(2, 4, 4), (8, 8)), ["maps", "(2, 4, 4)"]),
        (lambda: Upsampler()(torch.zeros(0, 1, 4, 4), (8, 8)), ["maps", "(0, 1, 4, 4)"]),
        (lambda: Upsampler()(torch.zeros(1, 1, 4, 4, dtype=torch.long), (8, 8)), ["maps", "int64"]),
        (lambda: Upsampler()(torch.zeros(1, 1, 4, 4), (9, 3)), ["size is (9, 3)", "(4, 4)"]),
        (lambda: bilinear_upsample(torch.zeros(4, 4), (8, 8)), ["maps", "(4, 4)"]),
        (lambda: bilinear_upsample(torch.zeros(1, 1, 4, 4), (8,)), ["size is (8,)"]),
    ],
)
def test_input_that_does_not_fit(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words), error.value
