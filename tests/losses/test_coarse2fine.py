"""Center loss against a loop over Eq. 2, at its limits, and with input that does not fit."""

import pytest
import torch

from fglib.losses import center_loss

B, C, M, N = 5, 4, 3, 6


def problem(dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(B, M, N, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()
    centers = torch.randn(C, M, N, generator=draw, dtype=torch.float64).to(dtype)
    return features, torch.tensor([2, 0, 2, 3, 2]), centers


def by_loops(features, labels, centers):
    """Squared distance (B,) of every image to the center of its class, one entry at a time."""
    f, c = features.tolist(), centers.tolist()
    losses = [
        sum((f[i][m][n] - c[y][m][n]) ** 2 for m in range(features.shape[1]) for n in range(features.shape[2]))
        for i, y in enumerate(labels.tolist())
    ]
    return torch.tensor(losses, dtype=torch.float64)


def test_center_loss_is_the_squared_distance_to_the_own_center():
    features, labels, centers = problem()
    expected = by_loops(features, labels, centers)
    torch.testing.assert_close(center_loss(features, labels, centers, reduction="none"), expected)
    loss = center_loss(features, labels, centers)
    torch.testing.assert_close(loss, expected.mean())
    loss.backward()
    torch.testing.assert_close(features.grad, 2 / B * (features.detach() - centers[labels]))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradient_is_exact(reduction):
    features, labels, centers = problem()
    assert torch.autograd.gradcheck(lambda f: center_loss(f, labels, centers, reduction), (features,))


def test_centers_are_constant():
    features, labels, centers = problem()
    centers.requires_grad_()
    center_loss(features, labels, centers).backward()
    assert centers.grad is None and features.grad is not None


def test_at_the_centers_loss_and_gradient_are_zero():
    _, labels, centers = problem()
    features = centers[labels].clone().requires_grad_()
    loss = center_loss(features, labels, centers)
    loss.backward()
    assert loss.item() == 0 and (features.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    features, labels, centers = problem(dtype)
    far = (300 * features.detach()).requires_grad_()  # the squares leave float16
    loss = center_loss(far, labels, centers.float())
    loss.backward()
    assert loss.dtype == torch.float32 and far.grad.dtype == dtype and far.grad.isfinite().all()
    torch.testing.assert_close(loss.double(), by_loops(far, labels, centers).mean(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8])
def test_labels_of_other_integer_types_and_tensors_that_are_not_contiguous(kind):
    features, labels, centers = problem()
    strided = features.detach().permute(2, 0, 1).contiguous().permute(1, 2, 0)
    spread = centers.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert not strided.is_contiguous() and not spread.is_contiguous()
    torch.testing.assert_close(
        center_loss(strided, labels.to(kind), spread), by_loops(features, labels, centers).mean()
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": torch.zeros(B, M * N)}, ["features", f"({B}, {M * N})", "(B, M, N) floats"]),
        ({"features": torch.zeros(0, M, N), "labels": torch.zeros(0, dtype=torch.long)}, ["features", "(0, 3, 6)"]),
        ({"features": torch.zeros(B, M, N, dtype=torch.long)}, ["features", "int64"]),
        ({"centers": torch.zeros(C, M, N + 1)}, ["centers", "(4, 3, 7)", "(5, 3, 6)"]),
        ({"centers": torch.zeros(M, N)}, ["centers", "(3, 6)", "(C, M, N) floats"]),
        ({"centers": torch.zeros(C, M, N, dtype=torch.int32)}, ["centers", "int32"]),
        ({"labels": torch.zeros(B + 1, dtype=torch.long)}, ["labels", "(6,)", "(5, 3, 6)"]),
        ({"labels": torch.zeros(B)}, ["labels", "float32", "integers"]),
        ({"labels": torch.tensor([0, 1, 2, 3, C])}, ["labels", "0 to 4", "4 classes"]),
        ({"labels": torch.tensor([0, 1, -1, 3, 0])}, ["labels", "-1 to 3"]),
        ({"reduction": "sum"}, ["reduction is 'sum'"]),
    ],
)
def test_input_that_does_not_fit(change, words):
    features, labels, centers = problem(torch.float32)
    with pytest.raises(ValueError) as error:
        center_loss(**{"features": features, "labels": labels, "centers": centers, **change})
    assert all(word in str(error.value) for word in words), error.value
