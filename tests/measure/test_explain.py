"""Attention maps and attributions against sums by hand, and against networks whose answer is known."""

import math

import pytest
import torch
from torch import nn

from fglib.measure.explain import attention_map, attention_share, integrated_gradients, layer_grad_cam
from fglib.models.heads import class_activation_maps


@pytest.mark.parametrize("p", [1, 2, 4, 0.5])
def test_attention_map_is_the_normalized_sum_of_powers(p):
    activations = torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    maps = attention_map(activations, p)
    for image, result in zip(activations.tolist(), maps):
        energy = [[sum(abs(image[c][y][x]) ** p for c in range(5)) for x in range(6)] for y in range(4)]
        norm = math.sqrt(sum(e * e for row in energy for e in row))
        torch.testing.assert_close(result, torch.tensor(energy) / norm)


def test_zero_maps_stay_zero_and_keep_a_finite_gradient():
    activations = torch.zeros(2, 3, 4, 4)
    activations[1, 0, 2, 2] = -5.0
    activations.requires_grad_()
    maps = attention_map(activations)
    assert (maps[0] == 0).all()
    assert maps[1, 2, 2] == 1 and maps[1].sum() == 1
    maps.sum().backward()
    assert activations.grad.isfinite().all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter(scale):
    activations = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attention_map(activations * scale, 4), attention_map(activations, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_lifted(dtype):
    activations = (300 * torch.rand(2, 64, 3, 3, generator=torch.Generator().manual_seed(0))).to(dtype)
    maps = attention_map(activations)  # the squares leave float16
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, attention_map(activations.float()))


def test_attention_map_is_differentiable():
    draw = torch.Generator().manual_seed(0)
    activations = torch.rand(2, 3, 2, 2, generator=draw, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(attention_map, activations)


def cam_problem(dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    sizes = (2, 5, 3, 4), (6, 5), (6,)
    return [torch.randn(size, generator=draw, dtype=torch.float64).to(dtype).requires_grad_() for size in sizes]


def test_class_activation_is_the_classifier_at_each_location():
    features, weight, bias = cam_problem()
    for b, added in ((bias, bias.tolist()), (None, [0.0] * 6)):
        maps = class_activation_maps(features, weight, b)
        assert maps.shape == (2, 6, 3, 4)
        for image, of_image in zip(features.tolist(), maps):
            expected = [
                [[sum(w[n] * image[n][y][x] for n in range(5)) + added[c] for x in range(4)] for y in range(3)]
                for c, w in enumerate(weight.tolist())
            ]
            torch.testing.assert_close(of_image, torch.tensor(expected, dtype=torch.float64))


def test_the_mean_of_a_class_activation_map_is_the_logit():
    torch.manual_seed(0)
    layer, head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)
    features = layer(torch.randn(4, 3, 9, 7))
    maps = class_activation_maps(features, head.weight, head.bias)
    torch.testing.assert_close(maps.mean((2, 3)), head(features.mean((2, 3))))


def test_class_activation_maps_are_differentiable():
    assert torch.autograd.gradcheck(class_activation_maps, cam_problem())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_class_activation_maps_lift_half_precision_and_take_any_layout(dtype):
    features, weight, bias = (t.detach() for t in cam_problem(dtype))
    expected = class_activation_maps(features.double(), weight.double(), bias.double())
    last = features.to(memory_format=torch.channels_last)
    for given in (features, last):
        maps = class_activation_maps(given, weight.T.contiguous().T, bias)
        assert maps.dtype == torch.float32
        torch.testing.assert_close(maps.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        class_activation_maps(features, weight.double()), expected - bias[:, None, None].double()
    )


def test_share_of_even_attention_is_one():
    mask = torch.zeros(2, 12, 8, dtype=torch.bool)
    mask[0, :3, :2] = True
    mask[1, 5:9, 1:] = True
    shares = attention_share(torch.full((2, 3, 4), 0.7), mask)
    torch.testing.assert_close(shares, torch.ones(2, dtype=torch.float64))


def test_share_by_hand():
    """Same size, so nothing is resized: 6 of the mass of 10 in a quarter of the area."""
    attention = torch.tensor([[[6.0, 1.0], [1.0, 2.0]]])
    mask = torch.tensor([[[True, False], [False, False]]])
    torch.testing.assert_close(attention_share(attention, mask), torch.tensor([2.4], dtype=torch.float64))
    torch.testing.assert_close(attention_share(attention, ~mask), torch.tensor([0.4 / 0.75], dtype=torch.float64))


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (64, 48)])
def test_share_finds_the_side_where_attention_is(size):
    attention = torch.zeros(1, *size)
    attention[:, :, : size[1] // 2] = 3.0
    left = torch.zeros(1, 20, 24, dtype=torch.bool)
    left[:, :, :12] = True
    inside, outside = attention_share(attention, left).item(), attention_share(attention, ~left).item()
    assert inside > 1.6 and outside < 0.4
    assert (inside + outside) / 2 == pytest.approx(1)  # both halves together are all of it


def test_share_of_no_attention_is_nan():
    assert attention_share(torch.zeros(1, 2, 2), torch.ones(1, 4, 4, dtype=torch.bool)).isnan().all()


class Corner(nn.Module):
    """Scores: class 0 is the red of pixel (1, 2) times 3, class 1 the sum of blue."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.last.weight.copy_(torch.tensor([[3.0, 0, 0], [0, 0, 1.0]])[:, :, None, None])

    def forward(self, images):
        maps = self.last(images)
        return torch.stack([maps[:, 0, 1, 2], maps[:, 1].sum((1, 2))], 1)

    def score(self, images, targets):
        return self(images).gather(1, targets[:, None])[:, 0]


def test_integrated_gradients_of_a_linear_score_are_weight_times_pixel():
    images = torch.rand(5, 3, 6, 4, generator=torch.Generator().manual_seed(0)) - 0.5
    before = images.clone()
    targets = torch.tensor([0, 1, 0, 1, 1])
    expected = torch.zeros(5, 6, 4)
    for i, target in enumerate(targets.tolist()):
        if target == 0:
            expected[i, 1, 2] = 3 * images[i, 0, 1, 2].abs()
        else:
            expected[i] = images[i, 2].abs()
    for batch_size in (2, 32):
        maps = integrated_gradients(Corner().score, images, targets, batch_size=batch_size)
        torch.testing.assert_close(maps, expected)
    assert torch.equal(images, before) and not images.requires_grad


def test_targets_may_be_vectors():
    """The score f(x) . w of a pooled feature: the gradient at every pixel is w / area."""
    images = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    w = torch.tensor([[1.0, 0, 0], [0, -2.0, 0], [1.0, 1.0, 1.0]])
    maps = integrated_gradients(lambda x, w: (x.mean((2, 3)) * w).sum(1), images, w, batch_size=2)
    torch.testing.assert_close(maps, (images * w[:, :, None, None]).abs().sum(1) / 16)


def test_integrated_gradients_start_at_the_baseline():
    images = torch.rand(2, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    assert (integrated_gradients(Corner().score, images, torch.tensor([0, 1]), baseline=images[:1])[0] == 0).all()


def test_grad_cam_weighs_channels_by_their_mean_gradient():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 2, stride=2)
    head = nn.Linear(4, 3)
    images, targets = torch.randn(5, 3, 8, 12), torch.tensor([0, 1, 2, 2, 1])

    def score(x, classes):
        return head(layer(x).mean((2, 3))).gather(1, classes[:, None])[:, 0]

    maps = layer_grad_cam(score, layer, images, targets, batch_size=3)
    assert maps.shape == (5, 8, 12) and (maps >= 0).all() and not maps.requires_grad
    features = layer(images).detach()
    weight = head.weight[targets].detach() / (4 * 6)  # mean gradient of a mean-pooled channel
    cam = (weight[:, :, None, None] * features).sum(1).relu()
    torch.testing.assert_close(maps, nn.functional.interpolate(cam[:, None], (8, 12), mode="bilinear")[:, 0])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: attention_map(torch.zeros(3, 4, 4)), ["activations", "(3, 4, 4)"]),
        (lambda: attention_map(torch.zeros(1, 3, 4, 4, dtype=torch.long)), ["activations", "int64"]),
        (lambda: attention_map(torch.zeros(1, 3, 4, 4), p=0), ["p is 0"]),
        (lambda: class_activation_maps(torch.zeros(5, 3, 4), torch.zeros(6, 5)), ["features", "(5, 3, 4)"]),
        (lambda: class_activation_maps(torch.zeros(0, 5, 3, 4), torch.zeros(6, 5)), ["features", "(0, 5, 3, 4)"]),
        (
            lambda: class_activation_maps(torch.zeros(2, 5, 3, 4), torch.zeros(6, 4)),
            ["weight", "(6, 4)", "(2, 5, 3, 4)"],
        ),
        (lambda: class_activation_maps(torch.zeros(2, 5, 3, 4), torch.zeros(5)), ["weight", "(5,)"]),
        (
            lambda: class_activation_maps(torch.zeros(2, 5, 3, 4), torch.zeros(6, 5), torch.zeros(5)),
            ["bias", "(5,)", "(6, 5)"],
        ),
        (lambda: attention_share(torch.zeros(4, 4), torch.ones(1, 4, 4) > 0), ["attention", "(4, 4)"]),
        (lambda: attention_share(torch.zeros(2, 4, 4), torch.ones(1, 4, 4) > 0), ["mask", "(1, 4, 4)", "(2, 4, 4)"]),
        (lambda: attention_share(torch.zeros(1, 4, 4), torch.ones(1, 4, 4)), ["mask", "float32"]),
        (lambda: attention_share(-torch.ones(1, 4, 4), torch.ones(1, 4, 4) > 0), ["negative"]),
        (lambda: attention_share(torch.ones(2, 2, 2), torch.tensor([[[True]], [[False]]])), ["mask 1 is empty"]),
        (lambda: integrated_gradients(Corner().score, torch.ones(3, 6, 4), torch.tensor([0])), ["images", "(3, 6, 4)"]),
        (
            lambda: layer_grad_cam(Corner().score, nn.Identity(), torch.ones(2, 3, 6, 4), torch.tensor([0])),
            ["targets", "(1,)", "(2, 3, 6, 4)"],
        ),
    ],
)
def test_input_that_does_not_fit(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words), error.value
