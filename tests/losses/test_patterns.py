"""Instance losses against plain loops over Eqs. 3 and 5, at their limits, and with input that does not fit."""

import math

import pytest
import torch

from fglib.losses import instance_cross_entropy, instance_cross_entropy_within, patterns

N, D, B = 23, 5, 9


def problem(dtype=torch.float64, seed=0):
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(B, D, generator=draw, dtype=torch.float64).to(dtype)
    weight = torch.randn(N, D, generator=draw, dtype=torch.float64).to(dtype)
    index = torch.randperm(N, generator=draw)[:B]
    superclass = torch.randint(4, (N,), generator=draw)
    return features.requires_grad_(), weight.requires_grad_(), index, superclass


def by_loops(features, weight, index, superclass=None):
    """-log exp(f.w_own) / sum over the images that count, one number at a time."""
    losses = []
    for f, i in zip(features.tolist(), index.tolist()):
        scores = {}
        for j, w in enumerate(weight.tolist()):
            if superclass is None or superclass[j] == superclass[i]:
                scores[j] = math.exp(sum(a * b for a, b in zip(f, w)))
        losses.append(-math.log(scores[i] / sum(scores.values())))
    return torch.tensor(losses, dtype=torch.float64)


def test_full_loss_is_eq_3():
    features, weight, index, _ = problem()
    expected = by_loops(features, weight, index)
    torch.testing.assert_close(instance_cross_entropy(features, weight, index, reduction="none").detach(), expected)
    torch.testing.assert_close(instance_cross_entropy(features, weight, index).detach(), expected.mean())


@pytest.mark.parametrize("order", ["mixed", "sorted", "one member missing from the run"])
def test_within_loss_is_eq_5(order):
    features, weight, index, superclass = problem()
    if order != "mixed":
        superclass = superclass.sort().values
    if order == "one member missing from the run":
        superclass[[0, 12]] = superclass[[12, 0]]
    expected = by_loops(features, weight, index, superclass)
    losses = instance_cross_entropy_within(features, weight, index, superclass, reduction="none")
    torch.testing.assert_close(losses.detach(), expected)
    mean = instance_cross_entropy_within(features, weight, index, superclass)
    torch.testing.assert_close(mean.detach(), expected.mean())


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("sort", [False, True])
def test_within_gradient_is_exact(reduction, sort):
    features, weight, index, superclass = problem()
    superclass = superclass.sort().values if sort else superclass

    def loss(f, w):
        return instance_cross_entropy_within(f, w, index, superclass, reduction)

    assert torch.autograd.gradcheck(loss, (features, weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sort", [False, True])
def test_the_kernel_is_the_plain_equation_with_its_gradients(dtype, sort):
    """Unequal super-classes, whose images lie side by side or not."""
    draw = torch.Generator().manual_seed(1)
    features, weight = (torch.randn(rows, 32, generator=draw, dtype=dtype) for rows in (40, 500))
    index, superclass = torch.randperm(500, generator=draw)[:40], torch.randint(8, (500,), generator=draw).square()
    superclass = superclass.sort().values if sort else superclass
    scale, found = torch.rand(40, generator=draw, dtype=dtype), []
    for loss in (lambda *a: instance_cross_entropy_within(*a, "none"), patterns._within):
        f, w = features.clone().requires_grad_(), weight.clone().requires_grad_()
        values = loss(f, w, index, superclass)
        found.append((values.detach(), *torch.autograd.grad((scale * values).sum(), (f, w))))
    for ours, plain in zip(*found):
        torch.testing.assert_close(ours, plain)


def test_full_gradient_is_exact():
    features, weight, index, _ = problem()
    assert torch.autograd.gradcheck(lambda f, w: instance_cross_entropy(f, w, index, "none"), (features, weight))


def test_one_superclass_is_the_full_loss_with_its_gradients():
    features, weight, index, _ = problem()
    full = torch.autograd.grad(instance_cross_entropy(features, weight, index), (features, weight))
    within = instance_cross_entropy_within(features, weight, index, torch.zeros(N, dtype=torch.long))
    for ours, theirs in zip(torch.autograd.grad(within, (features, weight)), full):
        torch.testing.assert_close(ours, theirs)


def test_superclasses_that_the_batch_lacks_get_zero_gradient():
    features, weight, index, _ = problem()
    superclass = torch.full((N,), 7)
    absent = [j for j in range(N) if j not in index.tolist()][:5]
    superclass[absent] = -3  # any integer names a super-class
    instance_cross_entropy_within(features, weight, index, superclass).backward()
    assert weight.grad.shape == (N, D)
    assert (weight.grad[absent] == 0).all()
    assert (weight.grad[superclass == 7] != 0).all()


def test_an_image_alone_in_its_superclass_costs_nothing():
    features, weight, index, _ = problem()
    losses = instance_cross_entropy_within(features, weight, index, torch.arange(N), reduction="none")
    losses.sum().backward()
    assert (losses == 0).all()
    assert (features.grad == 0).all() and (weight.grad == 0).all()


def test_repeated_indices_are_separate_images():
    features, weight, _, superclass = problem()
    index = torch.tensor([3, 3, 3, 4, 4, 5, 5, 5, 5])
    expected = by_loops(features, weight, index, superclass)
    losses = instance_cross_entropy_within(features, weight, index, superclass, reduction="none")
    torch.testing.assert_close(losses.detach(), expected)


@pytest.mark.parametrize("frozen", ["features", "weight"])
def test_one_argument_may_be_frozen(frozen):
    features, weight, index, superclass = problem()
    kept = torch.autograd.grad(instance_cross_entropy_within(features, weight, index, superclass), (features, weight))
    f, w = features.detach(), weight.detach()
    trained = w.requires_grad_() if frozen == "features" else f.requires_grad_()
    instance_cross_entropy_within(f, w, index, superclass).backward()
    assert (f.grad is None) == (frozen == "features") and (w.grad is None) == (frozen == "weight")
    torch.testing.assert_close(trained.grad, kept[1] if frozen == "features" else kept[0])


def test_without_gradients_it_is_a_plain_number():
    features, weight, index, superclass = problem()
    with torch.no_grad():
        loss = instance_cross_entropy_within(features, weight, index, superclass)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, by_loops(features, weight, index, superclass).mean())


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_extreme_scores_stay_finite(within, scale):
    features, weight, index, superclass = problem(torch.float32)
    features = (features * scale).detach().requires_grad_()
    extra = (superclass,) if within else ()
    loss = (instance_cross_entropy_within if within else instance_cross_entropy)(features, weight, index, *extra)
    loss.backward()
    assert loss.isfinite() and features.grad.isfinite().all() and weight.grad.isfinite().all()
    if scale < 1:  # all images alike: the logarithm of how many there are
        counts = torch.tensor([N if not within else int((superclass == superclass[i]).sum()) for i in index])
        torch.testing.assert_close(loss.detach(), counts.float().log().mean(), rtol=1e-3, atol=0)


def test_a_confident_image_keeps_the_digits_of_its_gradient():
    """With p = 1 - 1e-12 the gradient of the own logit is -1e-12; p - 1 in float32 would be 0."""
    gap = -math.log(1e-12)
    features, weight = torch.tensor([[1.0]], requires_grad=True), torch.tensor([[gap], [0.0]], requires_grad=True)
    instance_cross_entropy_within(features, weight, torch.tensor([0]), torch.tensor([0, 0])).backward()
    torch.testing.assert_close(weight.grad, torch.tensor([[-1e-12], [1e-12]]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_takes_the_softmax_in_float32(within, dtype):
    features, weight, index, superclass = problem(dtype)
    loss_of = instance_cross_entropy_within if within else instance_cross_entropy
    extra = (superclass,) if within else ()
    loss = loss_of(features, weight, index, *extra)
    loss.backward()
    assert loss.dtype == torch.float32 and features.grad.dtype == weight.grad.dtype == dtype
    exact = [t.detach().double().requires_grad_() for t in (features, weight)]
    reference = loss_of(*exact, index, *extra)
    reference.backward()
    rough = {"rtol": 0.05, "atol": 0.02}
    torch.testing.assert_close(loss.detach().double(), reference.detach(), **rough)
    torch.testing.assert_close(features.grad.double(), exact[0].grad, **rough)
    torch.testing.assert_close(weight.grad.double(), exact[1].grad, **rough)


@pytest.mark.parametrize("within", [False, True])
def test_autocast_and_mixed_types(within):
    features, weight, index, superclass = problem(torch.float32)
    loss_of = instance_cross_entropy_within if within else instance_cross_entropy
    extra = (superclass,) if within else ()
    plain = loss_of(features, weight, index, *extra)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(features.bfloat16(), weight, index, *extra)
    loss.backward()
    assert loss.dtype == torch.float32 and weight.grad.dtype == torch.float32
    torch.testing.assert_close(loss, plain, rtol=0.05, atol=0.02)
    torch.testing.assert_close(loss_of(features.half(), weight, index, *extra), plain, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("within", [False, True])
def test_steps_against_the_gradient_lower_it(within):
    features, weight, index, superclass = problem(torch.float32)
    loss_of = instance_cross_entropy_within if within else instance_cross_entropy
    extra = (superclass,) if within else ()
    history = []
    for _ in range(20):
        loss = loss_of(features, weight, index, *extra)
        history.append(loss.item())
        for tensor, grad in zip((features, weight), torch.autograd.grad(loss, (features, weight))):
            tensor.data -= 0.5 * grad
    assert all(later < earlier for earlier, later in zip(history, history[1:]))


def test_indices_of_other_integer_types():
    features, weight, index, superclass = problem()
    expected = instance_cross_entropy_within(features, weight, index, superclass)
    for kind in (torch.int32, torch.uint8):
        torch.testing.assert_close(
            instance_cross_entropy_within(features, weight, index.to(kind), superclass.to(kind)), expected
        )


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(features=torch.zeros(B)), ["features", "(9,)"]),
        (dict(features=torch.zeros(0, D), index=torch.zeros(0, dtype=torch.long)), ["features", "(0, 5)"]),
        (dict(features=torch.zeros(B, D, dtype=torch.long)), ["features", "int64"]),
        (dict(weight=torch.zeros(N, D + 1)), ["weight", "(23, 6)", "(9, 5)"]),
        (dict(weight=torch.zeros(N)), ["weight", "(23,)", "(9, 5)"]),
        (dict(index=torch.zeros(B + 1, dtype=torch.long)), ["index", "(10,)", "(9, 5)"]),
        (dict(index=torch.zeros(B)), ["index", "float32", "integers"]),
        (dict(index=torch.full((B,), N)), ["index", "(23, 5)", "23"]),
        (dict(index=torch.full((B,), -100)), ["index", "-100", "(23, 5)"]),
        (dict(superclass=torch.zeros(N - 1, dtype=torch.long)), ["superclass", "(22,)", "(23, 5)"]),
        (dict(superclass=torch.zeros(N)), ["superclass", "float32", "integers"]),
        (dict(reduction="sum"), ["reduction", "sum", "none"]),
    ],
)
def test_input_that_does_not_fit(change, words):
    features, weight, index, superclass = problem()
    arguments = dict(features=features, weight=weight, index=index, superclass=superclass, reduction="mean") | change
    with pytest.raises(ValueError) as within:
        instance_cross_entropy_within(**arguments)
    assert all(word in str(within.value) for word in words)
    superclass = arguments.pop("superclass")
    if "superclass" not in change:
        with pytest.raises(ValueError) as full:
            instance_cross_entropy(**arguments)
        assert str(full.value) == str(within.value)
