"""kNN and instance loss against plain loops over Eqs. 1 to 3, at their limits, and with input that does not fit."""

import math
from decimal import Decimal, localcontext

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from fglib.losses import grafit, instance_loss, knn_loss

N, D, B = 23, 5, 9
EXACT: dict[str, list] = {}


@pytest.fixture(autouse=True, params=["class by class", "all at once"])
def way(request, monkeypatch):
    """Every test below holds for the computation of a processor and for that of an accelerator."""
    if request.param == "all at once":
        monkeypatch.setattr(grafit, "_class_by_class", grafit._all_at_once)
    return request.param


def problem(dtype=torch.float64, seed=0, classes=4):
    draw = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(B, D, generator=draw, dtype=torch.float64).to(dtype)
    memory = torch.randn(N, D, generator=draw, dtype=torch.float64).to(dtype)
    index = torch.randperm(N, generator=draw)[:B]
    labels = torch.arange(N) % classes
    return embeddings.requires_grad_(), memory, index, labels[torch.randperm(N, generator=draw)]


def by_loops(embeddings, memory, index, labels, temperature=0.05):
    """Loss (B,) and gradient (B, d) of every image as Eqs. 2 and 3 read, float64.

    One number at a time and with 500 decimal digits, so that exp, sum and logarithm lose nothing.
    """
    key = str([t.tolist() for t in (embeddings, memory, index, labels)] + [temperature])
    if key not in EXACT:  # it takes seconds, and both ways of computing are compared with it
        with localcontext(prec=500):
            slots, images = [unit(m) for m in decimals(memory)], zip(decimals(embeddings), index.tolist())
            EXACT[key] = [exact_loss(g, i, slots, labels.tolist(), Decimal(temperature)) for g, i in images]
    losses, gradients = zip(*EXACT[key])
    return torch.tensor(losses, dtype=torch.float64), torch.tensor(gradients, dtype=torch.float64)


def exact_loss(g, i, slots, labels, temperature):
    others = [j for j in range(len(slots)) if j != i]
    positive = [j for j in others if labels[j] == labels[i]]
    if not positive:
        return 0.0, [0.0] * len(g)
    direction, length = unit(g), dot(g, g).sqrt()
    cosines = {j: dot(direction, slots[j]) for j in others}
    weights = {j: (cosines[j] / temperature).exp() for j in others}
    total, of_class = sum(weights.values()), sum(weights[j] for j in positive)
    # d loss / d s_ij is p_ij less the share of j among the positives; d cos / d g is (m - cos g) / |g| for unit m and g
    by_score = {j: weights[j] / total - (weights[j] / of_class if j in positive else 0) for j in others}
    gradient = [
        float(sum(by_score[j] * (slots[j][k] - cosines[j] * direction[k]) for j in others) / temperature / length)
        for k in range(len(g))
    ]
    return float(-(of_class / total).ln()), gradient


def decimals(vectors):
    return [[Decimal(value) for value in row] for row in vectors.tolist()]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def unit(a):
    length = dot(a, a).sqrt()
    return [x / length for x in a]


def gradient(loss, inputs):
    return torch.autograd.grad(loss, inputs)[0]


# kNN loss: values and gradients


@pytest.mark.parametrize("temperature", [0.002, 0.05, 1.0])
@pytest.mark.parametrize("classes", [2, 4, 9])
def test_knn_loss_is_eqs_2_and_3_with_its_gradient(temperature, classes):
    embeddings, memory, index, labels = problem(classes=classes)
    expected, of_each = by_loops(embeddings, memory, index, labels, temperature)
    losses = knn_loss(embeddings, memory, index, labels, temperature, reduction="none")
    torch.testing.assert_close(losses, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(gradient(losses.sum(), embeddings), of_each, rtol=1e-9, atol=1e-12)
    mean = knn_loss(embeddings, memory, index, labels, temperature)
    torch.testing.assert_close(mean, expected.mean())
    torch.testing.assert_close(gradient(mean, embeddings), of_each / B)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_knn_gradient_is_exact(reduction):
    embeddings, memory, index, labels = problem()
    labels[index[2]] = 77  # nobody else in its class
    assert torch.autograd.gradcheck(
        lambda g: knn_loss(g, memory, index, labels, reduction=reduction), (embeddings,), eps=1e-7
    )


@pytest.mark.parametrize("kind", ["hard", "usual", "easy"])
@pytest.mark.parametrize("temperature", [0.002, 0.05])
def test_float32_keeps_its_digits(temperature, kind):
    draw = torch.Generator().manual_seed(1)
    memory, labels, index = torch.randn(24, D, generator=draw), torch.arange(24) % 4, torch.arange(0, 24, 4)
    mates, strangers = memory[(index + 4) % 24], memory[(index + 5) % 24]
    embeddings = {"hard": strangers - mates, "usual": torch.randn(6, D, generator=draw), "easy": mates}[kind]
    embeddings.requires_grad_()
    losses = knn_loss(embeddings, memory, index, labels, temperature, reduction="none")
    expected, of_each = by_loops(embeddings, memory, index, labels, temperature)
    assert losses.dtype == torch.float32 and losses.isfinite().all()
    # scores reach 1 / temperature, and the last digit of a score is that part of a small loss, which is an exponential
    rounding = 4e-7 / temperature
    torch.testing.assert_close(losses.double(), expected, rtol=rounding, atol=1e-37)
    errors = (gradient(losses.sum(), embeddings) - of_each).norm(dim=1)
    assert (errors <= 2 * rounding * of_each.norm(dim=1) + 1e-30).all()
    mean = knn_loss(embeddings, memory, index, labels, temperature)
    torch.testing.assert_close(mean.double(), expected.mean(), rtol=2e-5 if kind != "easy" else rounding, atol=1e-37)


def on_circle(*degrees):
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1).float()


def test_the_hardest_image_keeps_its_loss_where_exp_sum_log_gives_infinity():
    """Opposite its only mate and on the spot of an image of another class: cosines -1 and 1, a loss of 2 / sigma."""
    embeddings = on_circle(0).requires_grad_()
    memory, labels, index = on_circle(90, 180, 0), torch.tensor([0, 0, 1]), torch.tensor([0])
    loss = knn_loss(embeddings, memory, index, labels, temperature=0.002)
    assert loss.item() == pytest.approx(1000, rel=1e-6)
    p = ((embeddings @ memory.T) / 0.002).index_fill(1, index, -torch.inf).softmax(1)
    assert p[:, labels == 0].sum().log().neg().item() == math.inf

    # turned a little away from the mate, the gradient pulls it there: d loss / d angle = -(sin of both angles) / sigma
    turned = on_circle(1).requires_grad_()
    loss = knn_loss(turned, memory, index, labels, temperature=0.002)
    grad = gradient(loss, turned)
    tangent = torch.tensor([-math.sin(math.radians(1)), math.cos(math.radians(1))])
    assert (grad @ tangent).item() == pytest.approx(-2 * math.sin(math.radians(1)) / 0.002, rel=1e-4)


def test_the_easiest_image_keeps_the_digits_of_loss_and_gradient_where_logsumexps_cancel():
    """On its mate, opposite the other class: log(1 + exp(-2 / sigma)), 4e-18 at 0.05, while 1 - p is 0 in float32."""
    embeddings, temperature = on_circle(1).requires_grad_(), 0.05
    memory, labels, index = on_circle(90, 0, 180), torch.tensor([0, 0, 1]), torch.tensor([0])
    loss = knn_loss(embeddings, memory, index, labels, temperature)
    gap = 2 * math.cos(math.radians(1)) / temperature
    assert loss.item() == pytest.approx(math.exp(-gap), rel=1e-4)
    s = (embeddings @ memory.T / temperature).index_fill(1, index, -torch.inf)
    assert (s.logsumexp(1) - s[:, labels == 0].logsumexp(1)).item() == 0
    grad = gradient(loss, embeddings)
    tangent = torch.tensor([-math.sin(math.radians(1)), math.cos(math.radians(1))])
    expected = math.exp(-gap) * 2 * math.sin(math.radians(1)) / temperature
    assert (grad @ tangent).item() == pytest.approx(expected, rel=1e-4)


def test_the_own_slot_is_never_a_neighbour():
    embeddings, memory, index, labels = problem()
    expected = knn_loss(embeddings, memory, index, labels, reduction="none")
    for row, slot in enumerate(index.tolist()):  # what a slot holds is nothing to its own image
        other = memory.clone()
        other[slot] = embeddings[row].detach() * 3
        losses = knn_loss(embeddings, other, index, labels, reduction="none")
        torch.testing.assert_close(losses[row], expected[row])
        assert (losses != expected).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lengths_do_not_count(dtype):
    embeddings, memory, index, labels = problem(dtype)
    expected = knn_loss(embeddings, memory, index, labels, reduction="none")
    lengths = torch.logspace(-6, 6, N, dtype=dtype)[:, None]
    for a, b in ((lengths[:B], 1), (1, lengths), (lengths.flip(0)[:B], lengths)):
        losses = knn_loss(embeddings * a, memory * b, index, labels, reduction="none")
        torch.testing.assert_close(losses, expected)
    # nor does the gradient point along the embedding
    grad = gradient(expected.sum(), embeddings)
    assert ((grad * embeddings).sum(1).abs() < 1e-5 * grad.norm(dim=1) * embeddings.norm(dim=1)).all()


def test_the_memory_is_constant():
    embeddings, memory, index, labels = problem()
    memory.requires_grad_()
    before = memory.detach().clone()
    knn_loss(embeddings, memory, index, labels).backward()
    assert memory.grad is None and embeddings.grad is not None and torch.equal(memory, before)


# kNN loss: classes


def test_an_image_alone_in_its_class_costs_nothing_and_is_left_out_of_the_mean():
    embeddings, memory, index, labels = problem()
    alone = [1, 4]
    labels[index[alone]] = torch.tensor([50, 51])
    expected, _ = by_loops(embeddings, memory, index, labels)
    losses = knn_loss(embeddings, memory, index, labels, reduction="none")
    torch.testing.assert_close(losses, expected)
    assert (losses[alone] == 0).all() and (losses > 0).sum() == B - 2
    mean = knn_loss(embeddings, memory, index, labels)
    torch.testing.assert_close(mean, expected.sum() / (B - 2))
    grad = gradient(mean, embeddings)
    assert (grad[alone] == 0).all() and (grad.norm(dim=1) > 0).sum() == B - 2


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_images_that_are_all_alone_give_zero_and_a_gradient_of_zero(reduction):
    embeddings, memory, index, _ = problem()
    loss = knn_loss(embeddings, memory, index, torch.arange(N), reduction=reduction)
    loss.sum().backward()
    assert (loss == 0).all() and torch.equal(embeddings.grad, torch.zeros(B, D, dtype=torch.float64))


def test_a_single_class_is_certain():
    embeddings, memory, index, _ = problem()
    losses = knn_loss(embeddings, memory, index, torch.full((N,), 7), reduction="none")
    losses.sum().backward()
    assert (losses == 0).all() and (embeddings.grad == 0).all()


def test_a_memory_of_one_or_two_images():
    g = torch.randn(1, D, requires_grad=True)
    assert knn_loss(g, torch.randn(1, D), torch.tensor([0]), torch.tensor([3])).item() == 0
    assert knn_loss(g, torch.randn(2, D), torch.tensor([1]), torch.tensor([3, 3])).item() == 0
    assert knn_loss(g, torch.randn(2, D), torch.tensor([1]), torch.tensor([3, 4])).item() == 0


def test_the_whole_memory_as_a_batch_and_classes_of_any_integer():
    embeddings, memory, index, labels = problem()
    memory, index, labels = memory[:B], index.argsort(), labels[:B] * 1000 - 1500
    losses = knn_loss(embeddings, memory, index, labels, reduction="none")
    torch.testing.assert_close(losses, by_loops(embeddings, memory, index, labels)[0])


# kNN loss: types and layouts


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    embeddings, memory, index, labels = problem(dtype)
    loss = knn_loss(embeddings, memory, index, labels)
    loss.backward()
    assert loss.dtype == torch.float32 and embeddings.grad.dtype == dtype
    expected, of_each = by_loops(embeddings, memory, index, labels)
    torch.testing.assert_close(loss.double(), expected.mean(), rtol=1e-5, atol=0)
    torch.testing.assert_close(embeddings.grad.double(), of_each / B, rtol=0.01, atol=1e-6)  # rounded once, at the end


def test_autocast_changes_nothing():
    embeddings, memory, index, labels = problem(torch.float32)
    plain = knn_loss(embeddings, memory, index, labels)
    expected = gradient(plain, embeddings)
    with torch.autocast("cpu", torch.bfloat16):
        loss = knn_loss(embeddings, memory, index, labels)
    assert torch.equal(loss, plain) and torch.equal(gradient(loss, embeddings), expected)


def test_mixed_types_take_the_wider_one():
    embeddings, memory, index, labels = problem(torch.float32)
    loss = knn_loss(embeddings, memory.double(), index, labels)
    loss.backward()
    assert loss.dtype == torch.float64 and embeddings.grad.dtype == torch.float32
    torch.testing.assert_close(loss.float(), knn_loss(embeddings, memory, index, labels))
    assert knn_loss(embeddings.bfloat16(), memory, index, labels).dtype == torch.float32


@pytest.mark.parametrize("kind", [torch.int32, torch.int16, torch.uint8])
def test_indices_and_labels_of_other_integer_types(kind):
    embeddings, memory, index, labels = problem()
    expected = knn_loss(embeddings, memory, index, labels)
    torch.testing.assert_close(knn_loss(embeddings, memory, index.to(kind), labels.to(kind)), expected)


def test_tensors_that_are_not_contiguous():
    embeddings, memory, index, labels = problem()
    expected = knn_loss(embeddings, memory, index, labels)
    strided = embeddings.detach().T.contiguous().T.requires_grad_()
    wide = torch.stack([memory, -memory], 2)[..., 0]
    indices, classes = torch.stack([index, index], 1)[:, 0], torch.stack([labels, labels], 1)[:, 1]
    assert not any(t.is_contiguous() for t in (strided, wide, indices, classes))
    loss = knn_loss(strided, wide, indices, classes)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient(loss, strided), gradient(expected, embeddings))
    summed = knn_loss(embeddings, memory, index, labels, reduction="none").sum()  # its gradient has stride 0
    torch.testing.assert_close(summed, B * expected)
    mean = knn_loss(embeddings, memory, index, labels)
    torch.testing.assert_close(gradient(summed, embeddings), B * gradient(mean, embeddings))


def test_without_gradients_it_is_a_plain_number():
    embeddings, memory, index, labels = problem()
    with torch.no_grad():
        loss = knn_loss(embeddings, memory, index, labels)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, by_loops(embeddings, memory, index, labels)[0].mean())


def test_a_value_that_is_not_finite_shows():
    embeddings, memory, index, labels = problem()
    broken = embeddings.detach().clone()
    broken[3, 1] = torch.nan
    losses = knn_loss(broken, memory, index, labels, reduction="none")
    assert losses.isnan().nonzero().flatten().tolist() == [3]
    assert knn_loss(broken, memory, index, labels).isnan()


class Tables(TorchDispatchMode):
    """Notes the storages of at least `size` bytes that are made."""

    def __init__(self, size):
        super().__init__()
        self.size, self.kept = size, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, tuple | list) else [out]:
            if isinstance(t, torch.Tensor) and t.untyped_storage().nbytes() >= self.size:
                self.kept[t.untyped_storage().data_ptr()] = t  # kept, so that no other takes its address
        return out


# all at once there is a table of booleans beside it, and one of either kind of score
@pytest.mark.parametrize("way", ["class by class"], indirect=True)
def test_one_table_of_all_similarities_is_made(way):
    draw = torch.Generator().manual_seed(0)
    b, n = 64, 512
    embeddings, memory = torch.randn(b, 3, generator=draw, requires_grad=True), torch.randn(n, 3, generator=draw)
    with Tables(b * n * 4) as tables:
        knn_loss(embeddings, memory, torch.arange(b), torch.arange(n) % 4).backward()
    assert len(tables.kept) == 1 and embeddings.grad is not None


def test_steps_against_the_gradient_lower_the_knn_loss():
    embeddings, memory, index, labels = problem(torch.float32)
    history = []
    for _ in range(20):
        loss = knn_loss(embeddings, memory, index, labels)
        history.append(loss.item())
        embeddings.data -= 0.02 * gradient(loss, embeddings)
    assert all(later < earlier for earlier, later in zip(history, history[1:]))


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(embeddings=torch.ones(B)), ["embeddings", "(9,)"]),
        (dict(embeddings=torch.ones(0, D), index=torch.zeros(0, dtype=torch.long)), ["embeddings", "(0, 5)"]),
        (dict(embeddings=torch.ones(B, D, dtype=torch.long)), ["embeddings", "int64"]),
        (dict(embeddings=torch.ones(B, D).index_fill(0, torch.tensor(4), 0)), ["row 4 of embeddings", "zero length"]),
        (dict(memory=torch.ones(N, D + 1)), ["memory", "(23, 6)", "(9, 5)"]),
        (dict(memory=torch.ones(N)), ["memory", "(23,)", "(9, 5)"]),
        (dict(memory=torch.ones(N, D, dtype=torch.int32)), ["memory", "int32", "(9, 5)"]),
        (dict(memory=torch.ones(N, D).index_fill(0, torch.tensor(20), 0)), ["row 20 of memory", "zero length"]),
        (dict(index=torch.arange(B + 1)), ["index", "(10,)", "(9, 5)"]),
        (dict(index=torch.arange(B)[:, None]), ["index", "(9, 1)", "(9, 5)"]),
        (dict(index=torch.zeros(B)), ["index", "float32", "integers"]),
        (dict(index=torch.arange(B) + N - B + 1), ["index", "23", "memory"]),
        (dict(index=torch.arange(B) - 1), ["index", "-1", "23 rows of memory"]),
        (dict(index=torch.tensor([0, 1, 2, 3, 4, 5, 6, 3, 8])), ["index", "repeats 3"]),
        (dict(labels=torch.zeros(N - 1, dtype=torch.long)), ["labels", "(22,)", "(23, 5)"]),
        (dict(labels=torch.zeros(N)), ["labels", "float32", "integers"]),
        (dict(labels=torch.zeros(N, dtype=torch.bool)), ["labels", "bool", "integers"]),
        (dict(temperature=0.0), ["temperature", "0.0", "positive"]),
        (dict(temperature=-0.05), ["temperature", "-0.05", "positive"]),
        (dict(temperature=math.nan), ["temperature", "nan", "positive"]),
        (dict(reduction="sum"), ["reduction", "sum", "none"]),
    ],
)
def test_knn_input_that_does_not_fit(change, words):
    embeddings, memory, index, labels = problem(torch.float32)
    arguments = dict(embeddings=embeddings, memory=memory, index=index, labels=labels) | change
    with pytest.raises(ValueError) as error:
        knn_loss(**arguments)
    assert all(word in str(error.value) for word in words)


# instance loss


def views_of(count, dtype=torch.float64, seed=0):
    draw = torch.Generator().manual_seed(seed)
    predictions = torch.randn(count, B, D, generator=draw, dtype=torch.float64).to(dtype)
    targets = torch.randn(count, B, D, generator=draw, dtype=torch.float64).to(dtype)
    return predictions.requires_grad_(), targets


def instance_by_loops(predictions, targets):
    """Eq. 1 for every image, one pair of views at a time, in float64: (B,)."""
    views, losses = len(predictions), []
    for i in range(predictions.shape[1]):
        pairs = [
            F.cosine_similarity(predictions[a, i].double(), targets[b, i].double(), dim=0)
            for a in range(views)
            for b in range(views)
            if a != b
        ]
        losses.append(-sum(pairs) / (views * (views - 1)))
    return torch.stack(losses)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_instance_loss_is_eq_1_with_its_gradient(count):
    predictions, targets = views_of(count)
    expected = instance_by_loops(predictions, targets)
    torch.testing.assert_close(instance_loss(predictions, targets, reduction="none"), expected)
    mean = instance_loss(predictions, targets)
    torch.testing.assert_close(mean, expected.mean())
    torch.testing.assert_close(gradient(mean, predictions), gradient(expected.mean(), predictions))
    assert torch.autograd.gradcheck(lambda q: instance_loss(q, targets, "none"), (predictions,))


def test_a_view_is_not_compared_with_itself():
    predictions, targets = views_of(2)
    crossed = -F.cosine_similarity(predictions, targets.flip(0), dim=2).mean(0)
    torch.testing.assert_close(instance_loss(predictions, targets, "none"), crossed)


def test_alike_views_reach_minus_one_and_opposite_ones_one():
    g = torch.randn(1, B, D).expand(3, -1, -1)
    torch.testing.assert_close(instance_loss(g, g), torch.tensor(-1.0))
    torch.testing.assert_close(instance_loss(g, -2 * g), torch.tensor(1.0))


def test_the_target_gets_no_gradient():
    predictions, targets = views_of(2)
    targets.requires_grad_()
    instance_loss(predictions, targets).backward()
    assert targets.grad is None and predictions.grad.norm() > 0


def test_lengths_of_predictions_and_targets_do_not_count():
    predictions, targets = views_of(3)
    lengths = torch.logspace(-6, 6, 3 * B, dtype=torch.float64).view(3, B, 1)
    expected = instance_loss(predictions, targets, "none")
    torch.testing.assert_close(instance_loss(predictions * lengths, targets, "none"), expected)
    torch.testing.assert_close(instance_loss(predictions, targets * lengths.flip(0), "none"), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_instance_loss_is_computed_in_float32_at_least(dtype):
    predictions, targets = views_of(2, dtype)
    with torch.autocast("cpu", torch.bfloat16):
        loss = instance_loss(predictions, targets)
    loss.backward()
    assert loss.dtype == torch.float32 and predictions.grad.dtype == dtype
    torch.testing.assert_close(loss.double(), instance_by_loops(predictions, targets).mean(), rtol=0, atol=1e-6)


def test_views_that_are_not_contiguous():
    predictions, targets = views_of(3)
    expected = instance_loss(predictions, targets)
    loss = instance_loss(predictions.transpose(0, 1).contiguous().transpose(0, 1), targets.mT.contiguous().mT)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(predictions=torch.ones(1, B, D), targets=torch.ones(1, B, D)), ["(1, 9, 5)", "two views"]),
        (dict(predictions=torch.ones(B, D), targets=torch.ones(B, D)), ["predictions", "(9, 5)", "(T, B, d)"]),
        (dict(targets=torch.ones(2, B, D + 1)), ["predictions", "(2, 9, 5)", "(2, 9, 6)"]),
        (dict(targets=torch.ones(3, B, D)), ["predictions", "(2, 9, 5)", "(3, 9, 5)"]),
        (dict(targets=torch.ones(2, B, D, dtype=torch.long)), ["targets", "int64"]),
        (dict(predictions=torch.ones(2, B, D, dtype=torch.long)), ["predictions", "int64"]),
        (dict(predictions=torch.ones(2, 0, D), targets=torch.ones(2, 0, D)), ["predictions", "(2, 0, 5)"]),
        (dict(predictions=torch.zeros(2, B, D)), ["row 0 of predictions", "zero length"]),
        (dict(targets=torch.zeros(2, B, D)), ["row 0 of targets", "zero length"]),
        (dict(reduction="sum"), ["reduction", "sum", "none"]),
    ],
)
def test_instance_input_that_does_not_fit(change, words):
    predictions, targets = views_of(2, torch.float32)
    with pytest.raises(ValueError) as error:
        instance_loss(**(dict(predictions=predictions, targets=targets) | change))
    assert all(word in str(error.value) for word in words)
