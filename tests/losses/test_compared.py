"""Losses that "Subtle Differences" compares with: loops over their equations, limits, and input that does not fit."""

import math

import pytest
import torch
import torch.nn.functional as F

from fglib.losses import gaussian_mixture_loss, maximum_entropy_loss, pairwise_confusion_loss

B, C = 7, 5
LOSSES = [maximum_entropy_loss, pairwise_confusion_loss, gaussian_mixture_loss]


def problem(dtype=torch.float64, images=B):
    """Positive scores, which may be distances too, and labels of which the first and the fourth are the same."""
    draw = torch.Generator().manual_seed(0)
    logits = 4 * torch.rand(images, C, generator=draw, dtype=torch.float64)
    return logits.to(dtype).requires_grad_(), torch.tensor([2, 0, 4, 2, 1, 3, 0])[:images]


def softmax_slowly(scores):
    """Probabilities of one image."""
    exponentials = [math.exp(s - max(scores)) for s in scores]
    return [e / math.fsum(exponentials) for e in exponentials]


def maximum_entropy_slowly(logits, target, weight):
    losses = []
    for scores, label in zip(logits.tolist(), target.tolist()):
        p = softmax_slowly(scores)
        entropy = -math.fsum(q * math.log(q) for q in p if q > 0)
        losses.append(-math.log(p[label]) - weight * entropy)
    return torch.tensor(losses, dtype=torch.float64)


def pairwise_confusion_slowly(logits, target, weight):
    p, labels = [softmax_slowly(scores) for scores in logits.tolist()], target.tolist()
    losses = [-math.log(q[label]) for q, label in zip(p, labels)]
    for i in range(len(p) // 2):
        other = len(p) - 1 - i
        if labels[i] != labels[other]:
            distance = math.fsum((a - b) ** 2 for a, b in zip(p[i], p[other]))
            losses[i] += weight * distance
            losses[other] += weight * distance
    return torch.tensor(losses, dtype=torch.float64)


def gaussian_mixture_slowly(distances, target, margin, likelihood):
    losses = []
    for row, label in zip(distances.tolist(), target.tolist()):
        scores = [-(d * (1 + margin) if c == label else d) for c, d in enumerate(row)]
        losses.append(-math.log(softmax_slowly(scores)[label]) + likelihood * row[label])
    return torch.tensor(losses, dtype=torch.float64)


SLOWLY = [
    (maximum_entropy_loss, maximum_entropy_slowly, (0.0,)),
    (maximum_entropy_loss, maximum_entropy_slowly, (0.7,)),
    (maximum_entropy_loss, maximum_entropy_slowly, (30.0,)),
    (pairwise_confusion_loss, pairwise_confusion_slowly, (0.0,)),
    (pairwise_confusion_loss, pairwise_confusion_slowly, (10.0,)),
    (gaussian_mixture_loss, gaussian_mixture_slowly, (0.0, 0.0)),
    (gaussian_mixture_loss, gaussian_mixture_slowly, (0.4, 0.0)),
    (gaussian_mixture_loss, gaussian_mixture_slowly, (1.0, 0.3)),
]


@pytest.mark.parametrize("images", [B, 6, 1])
@pytest.mark.parametrize(("loss", "slowly", "weights"), SLOWLY)
def test_every_loss_is_its_equation(loss, slowly, weights, images):
    logits, target = problem(images=images)
    expected = slowly(logits, target, *weights)
    torch.testing.assert_close(loss(logits, target, *weights, reduction="none"), expected)
    torch.testing.assert_close(loss(logits, target, *weights), expected.mean())


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_exact(loss, reduction):
    logits, target = problem()
    assert torch.autograd.gradcheck(lambda s: loss(s, target, 0.8, reduction=reduction), (logits,))


def test_weights_unless_given():
    logits, target = problem()
    for loss, slowly, weights in (
        (maximum_entropy_loss, maximum_entropy_slowly, (1.0,)),
        (pairwise_confusion_loss, pairwise_confusion_slowly, (1.0,)),
        (gaussian_mixture_loss, gaussian_mixture_slowly, (0.1, 0.1)),
    ):
        torch.testing.assert_close(loss(logits, target), slowly(logits, target, *weights).mean())


# Limits


@pytest.mark.parametrize("loss", LOSSES)
def test_without_its_weights_every_loss_is_cross_entropy(loss):
    logits, target = problem()
    weights = (0.0, 0.0) if loss is gaussian_mixture_loss else (0.0,)
    expected = F.cross_entropy(-logits if loss is gaussian_mixture_loss else logits, target)
    torch.testing.assert_close(loss(logits, target, *weights), expected)


def test_even_predictions_have_the_largest_entropy_and_no_confusion():
    logits, target = torch.zeros(4, C, dtype=torch.float64), torch.tensor([0, 1, 2, 3])
    assert maximum_entropy_loss(logits, target, 3.0).item() == pytest.approx(-2 * math.log(C))
    assert pairwise_confusion_loss(logits, target, 3.0).item() == pytest.approx(math.log(C))


def test_two_images_that_are_sure_of_two_classes_are_as_far_apart_as_can_be():
    logits = torch.tensor([[50.0, 0, 0], [0, 50, 0]], dtype=torch.float64)
    losses = pairwise_confusion_loss(logits, torch.tensor([0, 1]), reduction="none")
    torch.testing.assert_close(losses, torch.full((2,), 2.0, dtype=torch.float64))
    assert pairwise_confusion_loss(logits, torch.tensor([0, 0])).item() == pytest.approx(25)  # of one class: no term


def test_a_margin_asks_for_more_until_the_own_distance_is_zero():
    distances, target = problem()
    losses = [gaussian_mixture_loss(distances, target, m, 0.0, reduction="none") for m in (0.0, 0.1, 1.0)]
    assert (losses[0] < losses[1]).all() and (losses[1] < losses[2]).all()
    at_the_means = distances.detach().scatter(1, target[:, None], 0.0)
    torch.testing.assert_close(
        gaussian_mixture_loss(at_the_means, target, 1.0, 9.0), F.cross_entropy(-at_the_means, target)
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_with_one_class_there_is_nothing_to_tell(loss):
    logits = torch.zeros(3, 1, requires_grad=True)
    value = loss(logits, torch.zeros(3, dtype=torch.long))
    value.backward()
    pull = 0.1 / 3 if loss is gaussian_mixture_loss else 0.0  # of its likelihood alone
    assert value.item() == 0
    torch.testing.assert_close(logits.grad, torch.full((3, 1), pull))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("loss", "slowly", "weights"), SLOWLY)
def test_half_precision_is_computed_in_float32(loss, slowly, weights, dtype):
    logits, target = problem(dtype)
    value = loss(logits, target, *weights)
    value.backward()
    assert value.dtype == torch.float32 and logits.grad.dtype == dtype
    torch.testing.assert_close(value.double(), slowly(logits, target, *weights).mean(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_probabilities_that_are_zero_leave_the_gradient_finite(loss):
    """In float32 a score 104 below the largest has a probability of 0; a class that is masked out has none at all."""
    scores = torch.tensor([[300.0, 0.0, -300.0], [0.0, 1.0, -torch.inf], [0.0, 500.0, 2.0]])
    logits = (-scores if loss is gaussian_mixture_loss else scores).requires_grad_()
    value = loss(logits, torch.tensor([0, 1, 0]), 0.5)
    value.backward()
    assert value.isfinite() and logits.grad.isfinite().all() and logits.grad[2].abs().max() > 0.1


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8])
@pytest.mark.parametrize(("loss", "slowly", "weights"), SLOWLY)
def test_targets_of_other_integer_types_and_logits_that_are_not_contiguous(loss, slowly, weights, kind):
    logits, target = problem()
    strided = logits.detach().T.contiguous().T
    before = strided.clone()
    assert not strided.is_contiguous()
    torch.testing.assert_close(loss(strided, target.to(kind), *weights), slowly(logits, target, *weights).mean())
    assert torch.equal(strided, before)


# Input that does not fit


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"logits": torch.zeros(B)}, ["{name} has shape (7,)", "(B, d) floats"]),
        ({"logits": torch.zeros(0, C), "target": torch.zeros(0, dtype=torch.long)}, ["{name} has shape (0, 5)"]),
        ({"logits": torch.zeros(B, C, dtype=torch.long)}, ["{name}", "int64"]),
        ({"logits": torch.zeros(B, 0)}, ["target", "0 classes", "{name} (7, 0)"]),
        ({"target": torch.zeros(B + 1, dtype=torch.long)}, ["target has shape (8,)", "{name} (7, 5)"]),
        ({"target": torch.zeros(B, C, dtype=torch.long)}, ["target has shape (7, 5)"]),
        ({"target": torch.zeros(B)}, ["target", "float32", "integers"]),
        ({"target": torch.ones(B, dtype=torch.bool)}, ["target", "bool", "integers"]),
        ({"target": torch.tensor([0, 1, 2, 3, 4, 0, C])}, ["target", "0 to 5", "5 classes of {name} (7, 5)"]),
        ({"target": torch.tensor([0, 1, 2, 3, 4, 0, -100])}, ["target", "-100 to 4"]),
        ({"reduction": "sum"}, ["reduction is 'sum'"]),
    ],
)
def test_input_that_does_not_fit(loss, change, words):
    logits, target = problem(torch.float32)
    arguments = {"logits": logits, "target": target, **change}
    name = "distances" if loss is gaussian_mixture_loss else "logits"
    with pytest.raises(ValueError) as error:
        loss(arguments.pop("logits"), arguments.pop("target"), **arguments)
    assert all(word.format(name=name) in str(error.value) for word in words), error.value


@pytest.mark.parametrize("change", [{"margin": -0.1}, {"likelihood": -1.0}])
def test_a_margin_or_a_likelihood_that_is_negative(change):
    distances, target = problem()
    (name, value), *_ = change.items()
    with pytest.raises(ValueError, match=rf"{name}( is)? {value}.* \(7, 5\): neither may be negative"):
        gaussian_mixture_loss(distances, target, **change)
