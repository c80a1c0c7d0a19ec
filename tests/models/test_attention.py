"""Attention pooling, orthogonal rows and the centers' moving average: loops over the paper's equations, and limits."""

import pytest
import torch
from torch import nn

from fglib.models import bilinear_attention_pool, orthogonal_rows_, update_centers_

B, N, M, H, W = 3, 5, 2, 4, 3


def problem(dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(B, N, H, W, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()
    return features, torch.rand(B, M, H, W, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()


def products(features, attention):
    """The products (B, M, N, H, W) of every map with every channel at every location, one at a time."""
    f, a = features.tolist(), attention.tolist()
    return torch.tensor(
        [
            [
                [[[a[b][m][y][x] * f[b][n][y][x] for x in range(W)] for y in range(H)] for n in range(N)]
                for m in range(M)
            ]
            for b in range(B)
        ],
        dtype=torch.float64,
    )


# Bilinear attention pooling


def test_pooling_is_the_mean_of_products_over_locations():
    features, attention = problem()
    expected = products(features, attention).mean((3, 4))
    torch.testing.assert_close(bilinear_attention_pool(features, attention), expected)


def test_channel_pooling_is_the_mean_of_products_over_channels():
    features, attention = problem()
    expected = products(features, attention).mean(2).flatten(2)  # (B, M, H W), row by row
    torch.testing.assert_close(bilinear_attention_pool(features, attention, pool="channels"), expected)


def test_an_even_map_gives_global_average_pooling_and_a_map_of_one_location_its_features():
    features, _ = problem()
    attention = torch.zeros(B, 2, H, W, dtype=torch.float64)
    attention[:, 0] = 1
    attention[:, 1, 2, 1] = H * W
    pooled = bilinear_attention_pool(features, attention)
    torch.testing.assert_close(pooled[:, 0], features.mean((2, 3)))
    torch.testing.assert_close(pooled[:, 1], features[:, :, 2, 1])


@pytest.mark.parametrize("pool", ["mean", "channels"])
def test_gradients_are_exact(pool):
    assert torch.autograd.gradcheck(lambda f, a: bilinear_attention_pool(f, a, pool), problem())


@pytest.mark.parametrize("pool", ["mean", "channels"])
@pytest.mark.parametrize("layout", ["channels_last", "strided"])
def test_layout_does_not_count(layout, pool):
    features, attention = problem()
    if layout == "channels_last":
        others = [t.detach().to(memory_format=torch.channels_last) for t in (features, attention)]
    else:
        others = [torch.stack([t.detach(), -t.detach()], 4)[..., 0] for t in (features, attention)]
    assert not any(t.is_contiguous() for t in others)
    pooled = bilinear_attention_pool(*(t.requires_grad_() for t in others), pool)
    expected = bilinear_attention_pool(features, attention, pool)
    torch.testing.assert_close(pooled, expected)
    pooled.square().sum().backward()
    expected.square().sum().backward()
    for other, own in zip(others, (features, attention)):
        torch.testing.assert_close(other.grad, own.grad, check_stride=False)


@pytest.mark.parametrize("pool", ["mean", "channels"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_type(dtype, pool):
    features, attention = problem(dtype)
    pooled = bilinear_attention_pool(features, attention, pool)
    assert pooled.dtype == dtype
    pooled.sum().backward()
    assert features.grad.dtype == attention.grad.dtype == dtype
    expected = bilinear_attention_pool(features.double(), attention.double(), pool)
    torch.testing.assert_close(pooled.double(), expected, rtol=0.02, atol=0.02)
    assert bilinear_attention_pool(features, attention.float(), pool).dtype == torch.float32  # the wider of two


def test_the_sum_over_a_large_map_stays_in_the_range_of_float16():
    features, attention = torch.full((1, 1, 64, 64), 20, dtype=torch.float16), torch.ones(1, 1, 64, 64).half()
    pooled = bilinear_attention_pool(features, attention)  # the sum is 81,920, the largest float16 65,504
    assert pooled.item() == pytest.approx(20, rel=2e-3)


@pytest.mark.parametrize(
    ("features", "attention", "words"),
    [
        ((B, N, H, W), (B, M, H, W + 1), ["attention", "(3, 2, 4, 4)", "features", "(3, 5, 4, 3)"]),
        ((B, N, H, W), (B + 1, M, H, W), ["(4, 2, 4, 3)", "(3, 5, 4, 3)"]),
        ((1, N, H, W), (B, M, H, W), ["(3, 2, 4, 3)", "(1, 5, 4, 3)"]),
        ((N, H, W), (B, M, H, W), ["features", "(5, 4, 3)", "(B, C, H, W)"]),
        ((B, N, H, W), (M, H, W), ["attention", "(2, 4, 3)"]),
        ((0, N, H, W), (0, M, H, W), ["features", "(0, 5, 4, 3)"]),
        ((B, N, H, W), (B, 0, H, W), ["attention", "(3, 0, 4, 3)"]),
    ],
)
def test_maps_that_do_not_fit(features, attention, words):
    with pytest.raises(ValueError) as error:
        bilinear_attention_pool(torch.zeros(features), torch.zeros(attention))
    assert all(word in str(error.value) for word in words), error.value


def test_other_kinds_of_pooling_and_of_numbers_are_refused():
    with pytest.raises(ValueError, match="pool is 'max', must be 'mean' or 'channels'"):
        bilinear_attention_pool(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), pool="max")
    with pytest.raises(ValueError, match="attention has shape .* and type torch.int64"):
        bilinear_attention_pool(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.long))


# Orthogonal rows


@pytest.mark.parametrize("size", [(3, 7), (4, 4), (1, 5)])
@pytest.mark.parametrize("kernel", [(), (1, 1)])
def test_rows_become_orthonormal_in_the_space_of_the_old_rows(size, kernel):
    weight = torch.randn(*size, *kernel, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    old = weight.clone().flatten(1)
    assert orthogonal_rows_(weight) is weight
    rows = weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows), dtype=torch.float64))
    torch.testing.assert_close(old @ rows.T @ rows, old)  # nothing of the old rows lies outside


def test_rows_are_the_right_singular_vectors_in_their_order():
    """X = U S V^T with known V: the rows become those of V^T, largest singular value first, up to the sign."""
    draw = torch.Generator().manual_seed(0)
    u = torch.linalg.qr(torch.randn(3, 3, generator=draw, dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(6, 3, generator=draw, dtype=torch.float64)).Q
    weight = u @ torch.tensor([5.0, 2.0, 0.5], dtype=torch.float64).diag() @ v.T
    orthogonal_rows_(weight)
    torch.testing.assert_close((weight @ v).abs(), torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_rows_that_depend_on_each_other_become_orthonormal_too(rank):
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(4, rank, generator=draw) @ torch.randn(rank, 6, generator=draw)
    orthogonal_rows_(weight)
    torch.testing.assert_close(weight @ weight.T, torch.eye(4), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    weight = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    full = orthogonal_rows_(weight.float())
    assert torch.equal(orthogonal_rows_(weight), full.to(dtype))


def test_parameters_are_written_in_place_whatever_their_layout():
    layer = nn.Conv2d(6, 3, 1, bias=False).to(memory_format=torch.channels_last)
    place = layer.weight.data_ptr()
    orthogonal_rows_(layer.weight)
    assert layer.weight.data_ptr() == place and layer.weight.requires_grad and layer.weight.is_leaf
    rows = layer.weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(3), rtol=0, atol=1e-5)
    wide = torch.randn(6, 3)
    orthogonal_rows_(wide.T)
    torch.testing.assert_close(wide.T @ wide, torch.eye(3), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (torch.zeros(5, 4), ["(5, 4)", "only 4 directions exist"]),
        (torch.zeros(5, 4, 1, 1), ["(5, 4, 1, 1)", "only 4 directions exist"]),
        (torch.zeros(2, 4, 3, 3), ["(2, 4, 3, 3)", "must be (M, N) or (M, N, 1, 1)"]),
        (torch.zeros(4), ["(4,)"]),
        (torch.zeros(2, 4, 1), ["(2, 4, 1)"]),
        (torch.zeros(0, 4), ["(0, 4)"]),
        (torch.zeros(2, 4, dtype=torch.long), ["int64"]),
        (torch.tensor([[1.0, torch.nan]]), ["(1, 2)", "not finite"]),
    ],
)
def test_weights_without_orthogonal_rows_are_refused_and_left_alone(weight, words):
    before = weight.clone()
    with pytest.raises(ValueError) as error:
        orthogonal_rows_(weight)
    assert all(word in str(error.value) for word in ["weight", *words]), error.value
    assert torch.equal(weight.nan_to_num(), before.nan_to_num())


# Centers


def batch(dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(6, M, N, generator=draw, dtype=torch.float64).to(dtype)
    centers = torch.randn(5, M, N, generator=draw, dtype=torch.float64).to(dtype)
    return centers, features, torch.tensor([1, 4, 1, 3, 1, 4])


def moved_slowly(centers, features, labels, momentum):
    """Eq. 3 once for every class in the batch, with the mean of its members, one entry at a time."""
    expected = centers.clone()
    for y in sorted(set(labels.tolist())):
        members = [f for f, label in zip(features.tolist(), labels.tolist()) if label == y]
        for m in range(centers.shape[1]):
            for n in range(centers.shape[2]):
                mean = sum(f[m][n] for f in members) / len(members)
                expected[y, m, n] = (1 - momentum) * centers[y, m, n].item() + momentum * mean
    return expected


@pytest.mark.parametrize("momentum", [0.0, 0.05, 0.5, 1.0])
def test_every_class_present_moves_once_towards_its_mean(momentum):
    centers, features, labels = batch()
    expected, before = moved_slowly(centers, features, labels, momentum), centers.clone()
    assert update_centers_(centers, features, labels, momentum) is centers
    torch.testing.assert_close(centers, expected)
    assert torch.equal(centers[[0, 2]], before[[0, 2]])  # bit by bit where the batch has no member
    assert momentum or torch.equal(centers, before)


def test_the_momentum_of_the_paper_is_the_default_and_centers_approach_features_that_stay():
    centers, features, labels = batch()
    centers.zero_()
    for _ in range(20):
        update_centers_(centers, features, labels)
    torch.testing.assert_close(centers[3], (1 - 0.95**20) * features[3])


def test_no_gradient_is_recorded():
    centers, features, labels = batch()
    update_centers_(centers, features.requires_grad_(), labels)
    assert not centers.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_centers_keep_their_type(dtype):
    centers, features, labels = batch(dtype)
    wide = centers.float()
    expected = moved_slowly(centers.double(), features, labels, 0.5)
    update_centers_(wide, features, labels, 0.5)
    torch.testing.assert_close(wide, expected.float())
    update_centers_(centers, features, labels, 0.5)
    assert centers.dtype == dtype
    torch.testing.assert_close(centers.double(), expected, rtol=0.02, atol=0.02)


def test_centers_and_features_that_are_not_contiguous_and_short_labels():
    centers, features, labels = batch()
    expected = moved_slowly(centers, features, labels, 0.3)
    strided, others = (t.permute(2, 1, 0).contiguous().permute(2, 1, 0) for t in (centers, features))
    assert not strided.is_contiguous() and not others.is_contiguous()
    update_centers_(strided, others, labels.to(torch.uint8), 0.3)
    torch.testing.assert_close(strided, expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"momentum": 1.1}, ["momentum is 1.1", "[0, 1]"]),
        ({"momentum": float("nan")}, ["momentum is nan"]),
        ({"features": torch.zeros(6, M, N + 1)}, ["centers", "(5, 2, 5)", "(6, 2, 6)"]),
        ({"labels": torch.zeros(5, dtype=torch.long)}, ["labels", "(5,)", "(6, 2, 5)"]),
        ({"labels": torch.tensor([0, 1, 2, 3, 4, 5])}, ["labels", "0 to 5", "5 classes"]),
        ({"labels": torch.tensor([0, 1, 2, 3, 4, -1])}, ["labels", "-1 to 4"]),
        ({"features": torch.zeros(0, M, N), "labels": torch.zeros(0, dtype=torch.long)}, ["features", "(0, 2, 5)"]),
    ],
)
def test_updates_that_do_not_fit_are_refused_and_nothing_is_written(change, words):
    centers, features, labels = batch()
    before = centers.clone()
    with pytest.raises(ValueError) as error:
        update_centers_(centers, **{"features": features, "labels": labels, **change})
    assert all(word in str(error.value) for word in words), error.value
    assert torch.equal(centers, before)


def test_centers_refuse_features_that_are_not_finite():
    centers, features = torch.zeros(2, 1, 3), torch.ones(4, 1, 3)
    features[2, 0, 1] = torch.inf
    with pytest.raises(ValueError, match=r"row 2 of features is not finite.*\(4, 1, 3\)"):
        update_centers_(centers, features, torch.tensor([0, 1, 0, 1]))
    assert not centers.any()
