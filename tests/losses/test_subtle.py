"""Gradient-boosting cross entropy against loops over Eqs. 10 to 14, at its limits, and with input that does not fit."""

import math

import pytest
import torch
import torch.nn.functional as F

from fglib.losses import gradient_boosting_cross_entropy

B, C = 6, 11


def problem(dtype=torch.float64, classes=C):
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(B, classes, generator=draw, dtype=torch.float64)
    target = torch.randint(classes, (B,), generator=draw)
    target[0], target[1] = logits[0].argmax(), logits[1].argmin()  # a label above all negatives, and one below
    return logits.to(dtype).requires_grad_(), target


def by_loops(logits, target, k):
    """Loss (B,) and gradient (B, C) of every image as Eqs. 10, 12 and 14 read, one score at a time."""
    losses, gradients = [], []
    for s, label in zip(logits.tolist(), target.tolist()):
        negatives = [i for i in range(len(s)) if i != label]
        t_k = sorted((s[i] for i in negatives), reverse=True)[min(k, len(negatives)) - 1]
        kept = [i for i in negatives if s[i] >= t_k]
        largest = max(s)
        total = math.fsum(math.exp(s[i] - largest) for i in [label, *kept])
        losses.append(math.log(total) + largest - s[label])
        p = {i: math.exp(s[i] - largest) / total for i in [label, *kept]}
        gradients.append([p.get(i, 0.0) - (i == label) for i in range(len(s))])
    return torch.tensor(losses, dtype=torch.float64), torch.tensor(gradients, dtype=torch.float64)


def gradient(loss, inputs):
    return torch.autograd.grad(loss, inputs)[0]


@pytest.mark.parametrize("exact_k", [False, True])
@pytest.mark.parametrize("k", [1, 2, 5, C - 2, C - 1])
def test_loss_and_gradient_are_eqs_12_and_14(k, exact_k):
    logits, target = problem()
    expected, of_each = by_loops(logits, target, k)
    losses = gradient_boosting_cross_entropy(logits, target, k, exact_k, reduction="none")
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(gradient(losses.sum(), logits), of_each)
    mean = gradient_boosting_cross_entropy(logits, target, k, exact_k)
    torch.testing.assert_close(mean, expected.mean())
    torch.testing.assert_close(gradient(mean, logits), of_each / B)


def test_k_is_15_unless_given():
    logits, target = problem(classes=40)
    torch.testing.assert_close(gradient_boosting_cross_entropy(logits, target), by_loops(logits, target, 15)[0].mean())


def agrees_with_loops(logits, target, k, exact_k=False):
    logits = logits.detach().requires_grad_()
    expected, of_each = by_loops(logits, target, k)
    losses = gradient_boosting_cross_entropy(logits, target, k, exact_k, reduction="none")
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(gradient(losses.sum(), logits), of_each, check_stride=False)


@pytest.mark.parametrize("exact_k", [False, True])
@pytest.mark.parametrize("k", [1, 15, 300, 1000])
def test_many_classes(k, exact_k):
    agrees_with_loops(*problem(classes=1003), k, exact_k)


@pytest.mark.parametrize("exact_k", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradient_is_exact(reduction, exact_k):
    logits, target = problem()
    assert torch.autograd.gradcheck(
        lambda s: gradient_boosting_cross_entropy(s, target, 4, exact_k, reduction), (logits,)
    )


def test_kept_negatives_grow_dropped_ones_fall_to_zero_and_the_label_shrinks():
    logits, target = problem()
    ours = gradient(gradient_boosting_cross_entropy(logits, target, 3, reduction="none").sum(), logits)
    theirs = gradient(F.cross_entropy(logits, target, reduction="sum"), logits)
    negative = torch.ones(B, C, dtype=torch.bool).scatter_(1, target[:, None], False)
    dropped = negative & (ours == 0)
    assert (dropped.sum(1) == C - 1 - 3).all() and (theirs[dropped] > 0).all()
    kept = negative & ~dropped
    assert (ours[kept] > theirs[kept]).all()
    assert (ours[~negative] > theirs[~negative]).all() and (ours[~negative] < 0).all()
    torch.testing.assert_close(ours.sum(1), torch.zeros(B, dtype=torch.float64), rtol=0, atol=1e-15)


@pytest.mark.parametrize("exact_k", [False, True])
@pytest.mark.parametrize("k", [C - 1, C, 10**6])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_from_c_minus_1_on_the_loss_is_cross_entropy_to_the_last_bit(k, exact_k, reduction):
    logits, target = problem()
    ours = gradient_boosting_cross_entropy(logits, target, k, exact_k, reduction)
    theirs = F.cross_entropy(logits, target, reduction=reduction)
    assert torch.equal(ours, theirs)
    assert torch.equal(gradient(ours.sum(), logits), gradient(theirs.sum(), logits))


@pytest.mark.parametrize("classes", [1, 2])
def test_few_classes_have_few_negatives(classes):
    logits, target = torch.randn(B, classes, requires_grad=True), torch.zeros(B, dtype=torch.long)
    losses = gradient_boosting_cross_entropy(logits, target, 1, reduction="none")
    losses.sum().backward()
    assert torch.equal(losses, F.cross_entropy(logits, target, reduction="none"))
    assert classes > 1 or ((losses == 0).all() and (logits.grad == 0).all())


# Ties


def test_ties_at_the_kth_score_are_all_kept_unless_k_is_exact():
    logits = torch.tensor([[4.0, 1, 2, 1, 3, 1, 0], [1, 1, 1, 1, 3, 2, 0]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([4, 0])  # the second label ties with the k-th score itself
    expected, of_each = by_loops(logits, target, 3)
    losses = gradient_boosting_cross_entropy(logits, target, 3, reduction="none")
    torch.testing.assert_close(losses, expected)
    grad = gradient(losses.sum(), logits)
    torch.testing.assert_close(grad, of_each)
    assert ((grad > 0).sum(1) == 5).all()

    exact = gradient_boosting_cross_entropy(logits, target, 3, exact_k=True, reduction="none")
    by_hand = [math.log(sum(map(math.exp, [3, 4, 2, 1]))) - 3, math.log(sum(map(math.exp, [1, 3, 2, 1]))) - 1]
    torch.testing.assert_close(exact, torch.tensor(by_hand, dtype=torch.float64))
    grad = gradient(exact.sum(), logits)
    assert ((grad > 0).sum(1) == 3).all() and (grad[[0, 1], target] < 0).all()


@pytest.mark.parametrize("decimals", [0, 1, 2])
@pytest.mark.parametrize("k", [1, 15, 200])
def test_ties_among_many_classes(k, decimals):
    logits, target = problem(classes=1003)
    agrees_with_loops(logits.detach().round(decimals=decimals), target, k)


@pytest.mark.parametrize("decimals", [1, 2])
@pytest.mark.parametrize("k", [1, 15, 200])
def test_exact_k_keeps_k_among_ties(k, decimals):
    logits, target = problem(classes=1003)
    logits = logits.detach().round(decimals=decimals).requires_grad_()
    losses = gradient_boosting_cross_entropy(logits, target, k, exact_k=True, reduction="none")
    negatives = logits.detach().scatter(1, target[:, None], -torch.inf).sort(1, descending=True).values[:, :k]
    own = logits.detach().gather(1, target[:, None])
    torch.testing.assert_close(losses.detach(), torch.cat([own, negatives], 1).logsumexp(1) - own[:, 0])
    grad = gradient(losses.sum(), logits)
    assert ((grad > 0).sum(1) == k).all() and (grad.gather(1, target[:, None]) < 0).all()


def test_exact_k_counts_the_label_once_where_all_negatives_are_masked_out():
    logits = torch.full((1, C), -torch.inf, dtype=torch.float64)
    for label in range(C):
        scores = logits.clone()
        scores[0, label] = 2.0
        assert gradient_boosting_cross_entropy(scores, torch.tensor([label]), 3, exact_k=True).item() == 0


def test_equal_scores_are_all_kept():
    logits, target = torch.zeros(2, C, dtype=torch.float64, requires_grad=True), torch.tensor([0, 7])
    assert gradient_boosting_cross_entropy(logits, target, 2).item() == pytest.approx(math.log(C))
    assert gradient_boosting_cross_entropy(logits, target, 2, exact_k=True).item() == pytest.approx(math.log(3))


def test_scores_a_last_digit_apart_do_not_tie():
    below = torch.tensor(1.0).nextafter(torch.tensor(0.0)).item()
    logits = torch.tensor([[0.0, 1.0, below, below, 5.0]], requires_grad=True)
    grad = gradient(gradient_boosting_cross_entropy(logits, torch.tensor([0]), 2), logits)
    assert (grad[0] != 0).tolist() == [True, True, False, False, True]


# Number types, layouts, extremes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    logits, target = problem(dtype, classes=300)
    loss = gradient_boosting_cross_entropy(logits, target, 8)
    loss.backward()
    expected, of_each = by_loops(logits, target, 8)
    assert loss.dtype == torch.float32 and logits.grad.dtype == dtype
    torch.testing.assert_close(loss.double(), expected.mean(), rtol=1e-6, atol=0)
    torch.testing.assert_close(logits.grad.double(), of_each / B, rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_bfloat16_has_ties_that_are_kept():
    logits, target = problem(classes=1003)
    logits = (logits.detach() + 20).bfloat16().requires_grad_()  # steps of an eighth
    loss = gradient_boosting_cross_entropy(logits, target)
    expected, of_each = by_loops(logits, target, 15)
    assert ((of_each > 0).sum(1) > 15).any()
    torch.testing.assert_close(loss.double(), expected.mean(), rtol=1e-6, atol=0)
    grad = gradient(loss, logits).double()
    torch.testing.assert_close(grad, of_each / B, rtol=torch.finfo(torch.bfloat16).eps, atol=1e-6)


def test_float64_tells_scores_apart_that_float32_does_not():
    logits = torch.linspace(0, 1e-9, 1003, dtype=torch.float64).repeat(2, 1).requires_grad_()
    grad = gradient(gradient_boosting_cross_entropy(logits, torch.tensor([1002, 0])), logits)
    assert (grad[0] > 0).nonzero().flatten().tolist() == list(range(987, 1002))
    assert (grad[1] > 0).nonzero().flatten().tolist() == list(range(988, 1003))


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8])
def test_targets_of_other_integer_types_and_logits_that_are_not_contiguous(kind):
    logits, target = problem()
    strided = logits.detach().T.contiguous().T.requires_grad_()
    assert not strided.is_contiguous()
    expected, of_each = by_loops(logits, target, 3)
    losses = gradient_boosting_cross_entropy(strided, target.to(kind), 3, reduction="none")
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(gradient(losses.sum(), strided), of_each, check_stride=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_scores(dtype):
    """A label far below its negatives, far above them, and classes that are masked out by a very low score."""
    logits = torch.tensor(
        [
            [-500.0, 500, 0, 1, 2],
            [500, -500, 0, 1, 2],
            [1, 2, -torch.inf, -torch.inf, -torch.inf],
            [1, 2, -1e9, -1e9, -1e9],
        ],
        dtype=dtype,
        requires_grad=True,
    )
    losses = gradient_boosting_cross_entropy(logits, torch.zeros(4, dtype=torch.long), 2, reduction="none")
    expected = torch.tensor([1000, 0, math.log1p(math.e), math.log1p(math.e)], dtype=dtype)
    torch.testing.assert_close(losses, expected)
    grad = gradient(losses.sum(), logits)
    torch.testing.assert_close(grad[0], torch.tensor([-1, 1, 0, 0, 0], dtype=dtype))
    assert grad.isfinite().all() and (grad[1].abs() < 1e-30).all()


@pytest.mark.parametrize("exact_k", [False, True])
@pytest.mark.parametrize("place", [0, 5])
@pytest.mark.parametrize("classes", [C, 1003])
def test_a_score_that_is_nan_gives_a_loss_of_nan_for_its_image_alone(classes, place, exact_k):
    logits, target = problem(classes=classes)
    target[2] = 0
    values = logits.detach().clone()
    values[2, place] = torch.nan
    losses = gradient_boosting_cross_entropy(values, target, 3, exact_k, reduction="none")
    assert losses.isnan().tolist() == [row == 2 for row in range(B)]


@pytest.mark.parametrize("classes", [C, 1003])
def test_nan_in_one_image_and_a_tie_in_the_next(classes):
    logits, target = problem(classes=classes)
    values = logits.detach().clone()
    target[2:4] = 0
    values[2, 5], values[2, 6:] = torch.nan, -5.0
    values[3, [4, 5, 6, 7]] = 9.0  # four that are kept for k = 3
    losses = gradient_boosting_cross_entropy(values, target, 3, reduction="none")
    assert losses[2].isnan()
    rest = [0, 1, 3, 4, 5]
    torch.testing.assert_close(losses[rest], by_loops(values, target, 3)[0][rest])


def test_arguments_stay_as_they_are():
    logits, target = problem()
    before = logits.detach().clone(), target.clone()
    gradient_boosting_cross_entropy(logits, target, 3).backward()
    assert torch.equal(logits, before[0]) and torch.equal(target, before[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"logits": torch.zeros(B)}, ["logits", f"({B},)", "(B, d) floats"]),
        ({"logits": torch.zeros(0, C), "target": torch.zeros(0, dtype=torch.long)}, ["logits", "(0, 11)"]),
        ({"logits": torch.zeros(B, C, dtype=torch.long)}, ["logits", "int64"]),
        ({"logits": torch.zeros(B, 0)}, ["target", "0 classes", "(6, 0)"]),
        ({"target": torch.zeros(B + 1, dtype=torch.long)}, ["target", "(7,)", "(6, 11)"]),
        ({"target": torch.zeros(B, C, dtype=torch.long)}, ["target", "(6, 11)"]),
        ({"target": torch.zeros(B)}, ["target", "float32", "integers"]),
        ({"target": torch.tensor([0, 1, 2, 3, 4, C])}, ["target", "0 to 11", "11 classes", "(6, 11)"]),
        ({"target": torch.tensor([0, 1, 2, 3, 4, -100])}, ["target", "-100 to 4"]),
        ({"k": 0}, ["k is 0", "at least 1", "(6, 11)"]),
        ({"k": -3}, ["k is -3"]),
        ({"k": 2.0}, ["k is 2.0", "integer"]),
        ({"k": True}, ["k is True"]),
        ({"reduction": "sum"}, ["reduction is 'sum'"]),
    ],
)
def test_input_that_does_not_fit(change, words):
    logits, target = problem(torch.float32)
    with pytest.raises(ValueError) as error:
        gradient_boosting_cross_entropy(**{"logits": logits, "target": target, **change})
    assert all(word in str(error.value) for word in words), error.value
