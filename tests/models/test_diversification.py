"""The diversification block against loops over Eqs. 1 to 7, its draws, its limits, and input that does not fit."""

import math

import pytest
import torch

from fglib.models import DiversificationBlock, diversify

B, C, H, W = 2, 3, 7, 5


def problem(size=2, dtype=torch.float64, height=H, width=W):
    draw = torch.Generator().manual_seed(0)
    maps = torch.randn(B, C, height, width, generator=draw, dtype=torch.float64).to(dtype)
    peak_draw = torch.tensor([[True, False, True], [False, True, False]])
    grid = math.ceil(height / size), math.ceil(width / size)
    return maps.requires_grad_(), peak_draw, torch.rand(B, C, *grid, generator=draw) < 0.5


def by_loops(maps, peak_draw, patch_draw, size, alpha):
    """The factor (B, C, H, W) of every activation as Eqs. 1 to 7 read, one location at a time."""
    factor = torch.ones(maps.shape, dtype=torch.float64)
    for b in range(maps.shape[0]):
        for c in range(maps.shape[1]):
            values = maps[b, c].tolist()
            largest = max(map(max, values))
            for i in range(maps.shape[2]):
                for j in range(maps.shape[3]):
                    peak = values[i][j] == largest
                    hidden = peak_draw[b, c] if peak else patch_draw[b, c, i // size, j // size]
                    if hidden:
                        factor[b, c, i, j] = alpha
    return factor


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100])
def test_maps_and_gradient_are_eqs_1_to_7(size, alpha):
    maps, peak_draw, patch_draw = problem(size)
    factor = by_loops(maps, peak_draw, patch_draw, size, alpha)
    out = diversify(maps, peak_draw, patch_draw, size, alpha)
    assert torch.equal(out, maps * factor)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.equal(torch.autograd.grad(out, maps, upstream)[0], upstream * factor)  # the masks are constants


def test_alpha_is_a_tenth_unless_given():
    maps, peak_draw, patch_draw = problem()
    assert torch.equal(diversify(maps, peak_draw, patch_draw, 2), diversify(maps, peak_draw, patch_draw, 2, 0.1))


def test_gradient_is_exact():
    maps, peak_draw, patch_draw = problem(3)
    assert torch.autograd.gradcheck(lambda m: diversify(m, peak_draw, patch_draw, 3), (maps,))


def test_only_its_own_draw_suppresses_a_peak():
    maps = torch.arange(9.0).view(1, 1, 3, 3) + 1
    never, always = torch.tensor([[False]]), torch.tensor([[True]])
    patches = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    out = diversify(maps, never, patches, 3, alpha=0.5)
    assert torch.equal(out.flatten(), torch.tensor([0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 9]))
    out = diversify(maps, always, ~patches, 3, alpha=0.5)
    assert torch.equal(out.flatten(), torch.tensor([1, 2, 3, 4, 5, 6, 7, 8, 4.5]))


def test_all_locations_equal_to_the_maximum_are_peaks():
    maps = torch.tensor([[2.0, 1, 2], [0, 2, 1]]).view(1, 1, 2, 3)
    patches = torch.zeros(1, 1, 1, 1, dtype=torch.bool)
    out = diversify(maps, torch.tensor([[True]]), patches, 3, alpha=0.0)
    assert out.flatten().tolist() == [0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize("value", [0.0, -2.0, 3.0])
def test_a_map_of_equal_activations_is_nothing_but_peaks(value):
    maps, patches = torch.full((1, 2, 4, 4), value), torch.ones(1, 2, 2, 2, dtype=torch.bool)
    out = diversify(maps, torch.tensor([[True, False]]), patches, 2, alpha=0.5)
    assert (out[0, 0] == value / 2).all() and (out[0, 1] == value).all()


def test_suppression_raises_what_is_negative():
    maps = torch.tensor([[-1.0, -4.0]]).view(1, 1, 1, 2)
    out = diversify(maps, torch.tensor([[True]]), torch.ones(1, 1, 1, 1, dtype=torch.bool), 2, alpha=0.5)
    assert out.flatten().tolist() == [-0.5, -2.0]


def test_a_map_with_nan_has_no_peak_and_other_maps_do_not_notice():
    maps, peak_draw, _ = problem(3)
    values = maps.detach().clone()
    values[0, 0, 0, 0] = torch.nan
    patches = torch.zeros(B, C, 3, 2, dtype=torch.bool)
    out = diversify(values, peak_draw, patches, 3)
    torch.testing.assert_close(out[0, 0], values[0, 0], rtol=0, atol=0, equal_nan=True)
    clean = diversify(maps, peak_draw, patches, 3)
    assert torch.equal(out.flatten(0, 1)[1:], clean.flatten(0, 1)[1:])


def test_infinite_activations_stay_where_they_are():
    maps = torch.tensor([torch.inf, 1.0, -torch.inf, 2.0]).view(1, 1, 2, 2)
    out = diversify(maps, torch.tensor([[True]]), torch.ones(1, 1, 1, 1, dtype=torch.bool), 2, alpha=0.5)
    assert out.flatten().tolist() == [math.inf, 0.5, -math.inf, 1.0]


@pytest.mark.parametrize("layout", ["channels_last", "strided"])
def test_layout_does_not_count(layout):
    maps, peak_draw, patch_draw = problem(3)
    values = maps.detach()
    if layout == "channels_last":
        other = values.to(memory_format=torch.channels_last)
    else:
        other = torch.stack([values, -values], 4)[..., 0]
    assert not other.is_contiguous()
    out = diversify(other.requires_grad_(), peak_draw, patch_draw, 3)
    expected = diversify(maps, peak_draw, patch_draw, 3)
    assert torch.equal(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(other.grad, maps.grad, check_stride=False)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_maps_keep_their_type(dtype, autocast):
    maps, peak_draw, patch_draw = problem(3, dtype)
    with torch.autocast("cpu", enabled=autocast):
        out = diversify(maps, peak_draw, patch_draw, 3)
    out.sum().backward()
    assert out.dtype == maps.grad.dtype == dtype
    expected = maps.double() * by_loops(maps, peak_draw, patch_draw, 3, 0.1)
    torch.testing.assert_close(out.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=0)


def test_the_maps_stay_as_they_are():
    maps, peak_draw, patch_draw = problem()
    before = maps.detach().clone()
    diversify(maps, peak_draw, patch_draw, 2)
    assert torch.equal(maps, before)


# The block


def test_in_evaluation_the_block_is_the_identity():
    maps, *_ = problem()
    assert DiversificationBlock(1.0, 1.0).eval()(maps) is maps


@pytest.mark.parametrize(("p_peak", "p_patch"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_probabilities_of_zero_and_one_are_certain(p_peak, p_patch):
    maps, *_ = problem()
    out = DiversificationBlock(p_peak, p_patch, patch_size=2, alpha=0.25)(maps)
    peaks, patches = (torch.full(size, bool(p)) for size, p in (((B, C), p_peak), ((B, C, 4, 3), p_patch)))
    assert torch.equal(out, maps * by_loops(maps, peaks, patches, 2, 0.25))


def test_draws_are_per_image_class_and_patch_with_their_probabilities():
    maps = torch.ones(100, 50, 4, 6)
    maps[:, :, 0, 0] = 2  # the peak, in the first patch of each map
    torch.manual_seed(0)
    out = DiversificationBlock(p_peak=0.2, p_patch=0.7, patch_size=2, alpha=0.0)(maps)
    peaks = out[:, :, 0, 0] == 0
    patches = out[:, :, 1::2, 1::2] == 0  # (100, 50, 2, 3)
    whole = patches.repeat_interleave(2, 2).repeat_interleave(2, 3)
    whole[:, :, 0, 0] = peaks
    assert torch.equal(out == 0, whole)
    assert peaks.float().mean().item() == pytest.approx(0.2, abs=0.02)
    for draws in (patches.flatten(2)[..., place] for place in range(6)):
        assert draws.float().mean().item() == pytest.approx(0.7, abs=0.02)
    draws = torch.cat([peaks[..., None], patches.flatten(2)], 2).flatten(0, 1).double()  # seven that are independent
    others = torch.corrcoef(draws.T) - torch.eye(7)
    assert others.abs().max() < 0.05
    between = peaks.double().mean(1).var() * 50, peaks.double().mean(0).var() * 100  # of images and of classes
    assert all(0.1 < variance < 0.25 for variance in between)  # 0.16 where each draw is its own


def test_every_pass_draws_anew_and_a_seed_repeats_it():
    maps, *_ = problem()
    block = DiversificationBlock()
    torch.manual_seed(3)
    first, second = block(maps), block(maps)
    torch.manual_seed(3)
    assert torch.equal(block(maps), first) and not torch.equal(second, first)


def test_the_block_has_no_parameters_and_shows_its_settings():
    block = DiversificationBlock()
    assert not block.state_dict()
    assert "p_peak=0.5, p_patch=0.5, patch_size=3, alpha=0.1" in str(block)


# Input that does not fit


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"maps": torch.zeros(C, H, W)}, ["maps", "(3, 7, 5)", "(B, C, H, W) floats"]),
        ({"maps": torch.zeros(0, C, H, W)}, ["maps", "(0, 3, 7, 5)"]),
        ({"maps": torch.zeros(B, C, H, W, dtype=torch.long)}, ["maps", "int64"]),
        ({"peak_draw": torch.zeros(B, 1, dtype=torch.bool)}, ["peak_draw", "(2, 1)", "(2, 3) bool", "(2, 3, 7, 5)"]),
        ({"peak_draw": torch.zeros(B, C)}, ["peak_draw", "float32", "bool"]),
        (
            {"patch_draw": torch.zeros(B, C, 3, 2, dtype=torch.bool)},
            ["patch_draw", "(2, 3, 3, 2)", "(2, 3, 4, 3) bool"],
        ),
        ({"patch_draw": torch.zeros(B, C, 4, 3)}, ["patch_draw", "float32"]),
        ({"patch_size": 0}, ["patch_size is 0", "at least 1"]),
        ({"patch_size": 2.0}, ["patch_size is 2.0", "integer"]),
        ({"patch_size": True}, ["patch_size is True"]),
        ({"alpha": 1.5}, ["alpha is 1.5", "[0, 1]"]),
        ({"alpha": float("nan")}, ["alpha is nan"]),
    ],
)
def test_arguments_that_do_not_fit(change, words):
    maps, peak_draw, patch_draw = problem()
    given = {"maps": maps, "peak_draw": peak_draw, "patch_draw": patch_draw, "patch_size": 2}
    with pytest.raises(ValueError) as error:
        diversify(**{**given, **change})
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"p_peak": 1.01}, "p_peak is 1.01"),
        ({"p_peak": -0.1}, "p_peak is -0.1"),
        ({"p_patch": 2}, "p_patch is 2"),
        ({"p_patch": float("nan")}, "p_patch is nan"),
        ({"alpha": -1}, "alpha is -1"),
        ({"patch_size": -3}, "patch_size is -3"),
        ({"patch_size": 1.5}, "patch_size is 1.5"),
    ],
)
def test_settings_out_of_range(change, words):
    with pytest.raises(ValueError, match=words):
        DiversificationBlock(**change)


def test_the_block_refuses_what_is_no_map():
    with pytest.raises(ValueError, match="maps has shape"):
        DiversificationBlock()(torch.zeros(2, 3))
