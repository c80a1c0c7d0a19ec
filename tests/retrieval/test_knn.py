"""kNN classification against plain loops: sort the memory, take k, add up exponentials."""

import math

import pytest
import torch

from fglib.retrieval import choose_k, knn_logits, knn_probabilities

Q, N, D, C = 9, 70, 6, 5
INF = math.inf


def angles(*degrees):
    """Unit vectors in the plane: their cosine is the cosine of the angle between them."""
    radians = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], 1).float()


def problem(seed=0, classes=C - 1):
    """The last class has no item."""
    draw = torch.Generator().manual_seed(seed)
    query, memory = torch.randn(Q, D, generator=draw), torch.randn(N, D, generator=draw)
    return query, memory, torch.randint(classes, (N,), generator=draw)


def logits_by_loops(query, memory, labels, num_classes, temperature=0.05, k=None, exclude=None):
    rows = []
    for i, q in enumerate(query.double().tolist()):
        found = []
        for j, m in enumerate(memory.double().tolist()):
            if exclude is None or exclude[i] != j:
                found.append((-sum(a * b for a, b in zip(q, m)) / math.hypot(*q) / math.hypot(*m), j))
        scores = {}
        for minus_cosine, j in sorted(found)[:k]:
            scores.setdefault(int(labels[j]), []).append(-minus_cosine / temperature)
        rows.append([])
        for y in range(num_classes):
            own = scores.get(y, [])
            rows[-1].append(max(own) + math.log(math.fsum(math.exp(s - max(own)) for s in own)) if own else -INF)
    return torch.tensor(rows, dtype=torch.float64)


def close(logits, expected, temperature=0.05):
    """Cosines are float32: an error of 1e-6 in them is one of 1e-6 / temperature in the logits."""
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6 / temperature)


@pytest.mark.parametrize("k", [None, 1, 7, 69, 70, 500])
@pytest.mark.parametrize("temperature", [0.002, 0.05, 1.0, 1000.0])
def test_logits_against_loops(k, temperature):
    query, memory, labels = problem()
    logits = knn_logits(query, memory, labels, C, temperature, k)
    assert logits.shape == (Q, C) and logits.dtype == torch.float64
    close(logits, logits_by_loops(query, memory, labels, C, temperature, k), temperature)
    assert (logits[:, -1] == -INF).all()


@pytest.mark.parametrize("k", [None, 1, 4, 70])
def test_rows_left_out(k):
    """A query that is in the memory must not find itself: its own cosine of 1 would drown all others."""
    _, memory, labels = problem(1)
    own = torch.arange(Q)
    own[3] = -1
    logits = knn_logits(memory[:Q], memory, labels, C, k=k, exclude=own)
    close(logits, logits_by_loops(memory[:Q], memory, labels, C, k=k, exclude=own))
    kept = knn_logits(memory[:Q], memory, labels, C, k=k)
    assert torch.equal(logits[3], kept[3]) and not torch.equal(logits[0], kept[0])


def test_nothing_left_is_minus_infinity_everywhere():
    logits = knn_logits(angles(0, 0), angles(10), torch.tensor([1]), 3, exclude=torch.tensor([0, -1]))
    assert logits[0].tolist() == [-INF, -INF, -INF] and logits[1].isfinite().tolist() == [False, True, False]


@pytest.mark.parametrize("k", [1, 5, 70])
def test_probabilities_are_eq_6(k):
    query, memory, labels = problem(2)
    probabilities = knn_probabilities(query, memory, labels, k, 0.1, num_classes=C)
    assert probabilities.dtype == torch.float64
    weight = logits_by_loops(query, memory, labels, C, 0.1, k).exp()
    torch.testing.assert_close(probabilities, weight / weight.sum(1, keepdim=True), rtol=0, atol=1e-5)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(Q, dtype=torch.float64))


def test_two_neighbours_by_hand():
    """Cosines 1 and 1/2 at temperature 1/2: weights e^2 and e^1; the third item is one neighbour too many."""
    probabilities = knn_probabilities(angles(0), angles(0, 60, 90), torch.tensor([2, 0, 0]), 2, 0.5, num_classes=4)
    e = math.e
    assert probabilities[0].tolist() == pytest.approx([1 / (1 + e), 0, e / (1 + e), 0], rel=1e-6)


def test_the_default_temperature_is_that_of_the_loss():
    query, memory, labels = problem(3)
    expected = knn_probabilities(query, memory, labels, 9, temperature=0.05, num_classes=C)
    assert torch.equal(knn_probabilities(query, memory, labels, 9, num_classes=C), expected)
    assert torch.equal(knn_logits(query, memory, labels, C, k=9).softmax(1), expected)


@pytest.mark.parametrize("k", [70, 71, 10**6])
def test_k_beyond_the_memory_means_all(k):
    query, memory, labels = problem(4)
    every = knn_logits(query, memory, labels, C).softmax(1)
    torch.testing.assert_close(knn_probabilities(query, memory, labels, k, num_classes=C), every)


def test_the_number_of_classes_is_given_not_inferred():
    query, memory, labels = problem(5)
    narrow, wide = (knn_probabilities(query, memory, labels, 5, num_classes=count) for count in (C, 40))
    assert wide.shape == (Q, 40) and (wide[:, C - 1 :] == 0).all()
    assert torch.equal(wide[:, :C], narrow)
    with pytest.raises(TypeError, match="num_classes"):
        knn_probabilities(query, memory, labels, 5)


def test_equal_neighbours_count_by_row():
    """Copies of one item in three classes: with k = 1, 2 the lower rows are the neighbours."""
    memory, labels = angles(40, 10, 10, 10), torch.tensor([0, 3, 1, 2])
    for k, expected in ((1, [0, 0, 0, 1]), (2, [0, 0.5, 0, 0.5]), (3, [0, 1 / 3, 1 / 3, 1 / 3])):
        probabilities = knn_probabilities(angles(12), memory, labels, k, num_classes=4)
        assert probabilities[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("k", [None, 3])
def test_a_class_with_one_member_and_a_cold_temperature(k):
    """At 0.002 the exponentials span e^-1000 to e^0: beyond float64 with one shift for all classes."""
    logits = knn_logits(angles(0), angles(0, 1, 180), torch.tensor([0, 0, 1]), 2, temperature=0.002, k=k)
    one = math.cos(math.radians(1))
    assert logits[0].tolist() == pytest.approx([500 + math.log1p(math.exp(500 * (one - 1))), -500], abs=1e-3)
    probabilities = knn_probabilities(angles(0), angles(0, 1, 180), torch.tensor([0, 0, 1]), 3, 0.002, num_classes=2)
    assert probabilities[0].tolist() == [1, 0]


def test_one_class_is_certain():
    query, memory, _ = problem()
    probabilities = knn_probabilities(query, memory, torch.zeros(N, dtype=torch.long), 3, num_classes=1)
    assert (probabilities == 1).all()


@pytest.mark.parametrize("k", [None, 4])
@pytest.mark.parametrize("chunk_bytes", [1, 64 * 128 * 4])
def test_chunks_do_not_matter(k, chunk_bytes):
    query, memory, labels = problem(6)
    query, memory = query.sign() + 0.25, memory.sign() + 0.25  # plenty of ties
    exclude = torch.arange(Q) - 1
    arguments = (query, memory, labels, C, 0.05, k, exclude)
    assert torch.equal(knn_logits(*arguments, chunk_bytes=chunk_bytes), knn_logits(*arguments))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_float_types(dtype):
    query, memory = angles(5, 100).to(dtype).requires_grad_(), angles(0, 40, 90, 130).to(dtype)
    probabilities = knn_probabilities(query, memory, torch.tensor([0, 0, 1, 1]), 3, num_classes=2)
    assert probabilities.argmax(1).tolist() == [0, 1] and not probabilities.requires_grad
    assert probabilities.dtype == torch.float64


@pytest.mark.parametrize("k", [None, 5])
def test_inputs_that_are_not_contiguous_or_of_other_integer_types_or_under_autocast(k):
    query, memory, labels = problem(7)
    expected = knn_logits(query, memory, labels, C, k=k)
    with torch.autocast("cpu", torch.bfloat16):
        logits = knn_logits(
            query.T.contiguous().T, memory.repeat(1, 2)[:, :D], labels.int().repeat_interleave(2)[::2], C, k=k
        )
    assert torch.equal(logits, expected)


def groups(seed=0, members=30, noise=0.6):
    """Four classes around centers, in random order."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(4).repeat(members)[torch.randperm(4 * members, generator=draw)]
    return torch.randn(4, D, generator=draw)[labels] + noise * torch.randn(4 * members, D, generator=draw), labels


@pytest.mark.parametrize("seed", [0, 1])
def test_choose_k_is_the_accuracy_on_a_part_of_the_training_set(seed):
    features, labels = groups(noise=1.2)
    ks = (25, 1, 5, 10, 1000)
    k, accuracy = choose_k(features, labels, ks, num_classes=4, seed=seed)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(seed)).tolist()
    asked, rest = order[:24], sorted(order[24:])
    assert list(accuracy) == list(ks) and len(set(accuracy.values())) > 1
    for each in ks:
        logits = logits_by_loops(features[asked], features[rest], labels[rest], 4, k=each)
        assert accuracy[each] == int((logits.argmax(1) == labels[asked]).sum()) / 24
    assert k == min(each for each in ks if accuracy[each] == max(accuracy.values()))


def test_choose_k_takes_equal_neighbours_by_row():
    """Copies of four items with labels at random: which of the copies are near is settled by their rows alone."""
    draw = torch.Generator().manual_seed(8)
    features = torch.randn(4, D, generator=draw)[torch.randint(4, (200,), generator=draw)]
    labels = torch.randint(4, (200,), generator=draw)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0)).tolist()
    asked, rest = order[:40], sorted(order[40:])
    logits = logits_by_loops(features[asked], features[rest], labels[rest], 4, k=1)
    correct = int((logits.argmax(1) == labels[asked]).sum())
    assert choose_k(features, labels, (1,), num_classes=4)[1] == {1: correct / 40}


def test_choose_k_defaults_and_seed():
    features, labels = groups(noise=1.2)
    chosen = choose_k(features, labels, num_classes=4)
    assert list(chosen[1]) == [10, 15, 20, 25, 30]
    assert choose_k(features, labels, (10, 15, 20, 25, 30), num_classes=4, temperature=0.05, fraction=0.2) == chosen
    assert choose_k(features, labels, num_classes=4, seed=0) == chosen
    assert any(choose_k(features, labels, num_classes=4, seed=seed)[1] != chosen[1] for seed in range(1, 4))


def test_equally_good_ks_give_the_smallest():
    features, labels = groups(noise=0.01)
    k, accuracy = choose_k(features, labels, (9, 3, 5), num_classes=4)
    assert k == 3 and set(accuracy.values()) == {1.0}


def test_choose_k_leaves_the_global_random_state_alone():
    features, labels = groups()
    before = torch.get_rng_state()
    choose_k(features, labels, num_classes=4)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_part_set_apart_is_never_all_or_nothing():
    features, labels = angles(0, 90), torch.tensor([0, 0])
    for fraction in (0.001, 0.999):
        assert choose_k(features, labels, (1,), num_classes=1, fraction=fraction) == (1, {1: 1.0})


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(query=torch.ones(3)), ["query", "(3,)"]),
        (dict(memory=torch.ones(3, 5)), ["memory", "(3, 5)", "(2, 2)"]),
        (dict(memory=torch.zeros(3, 2)), ["row 0 of memory", "zero length"]),
        (dict(query=torch.tensor([[1.0, 0], [math.nan, 0]])), ["row 1 of query", "finite"]),
        (dict(labels=torch.zeros(4, dtype=torch.long)), ["labels", "(4,)", "memory", "(3, 2)"]),
        (dict(labels=torch.zeros(3)), ["labels", "float32", "integers"]),
        (dict(labels=torch.tensor([0, 1, 3])), ["labels", "(3,)", "3", "0 to 2"]),
        (dict(labels=torch.tensor([0, 1, -1])), ["labels", "-1", "0 to 2"]),
        (dict(num_classes=0), ["num_classes", "0"]),
        (dict(num_classes=3.0), ["num_classes", "3.0"]),
        (dict(k=0), ["k is 0"]),
        (dict(k=-3), ["k is -3"]),
        (dict(k=2.0), ["k is 2.0"]),
        (dict(k=True), ["k is True"]),
        (dict(temperature=0.0), ["temperature", "0.0"]),
        (dict(temperature=-0.05), ["temperature", "-0.05"]),
        (dict(temperature=math.nan), ["temperature", "nan"]),
    ],
)
def test_input_that_does_not_fit(change, words):
    arguments = dict(query=angles(0, 1), memory=angles(0, 1, 2), labels=torch.arange(3), num_classes=3, k=1) | change
    for classify in (knn_logits, knn_probabilities):
        with pytest.raises(ValueError) as error:
            classify(**arguments)
        assert all(word in str(error.value) for word in words), error.value


def test_rows_to_leave_out_and_missing_k_that_do_not_fit():
    memory, labels = angles(0, 1, 2), torch.arange(3)
    for exclude in (torch.tensor([3]), torch.tensor([-2]), torch.tensor([0, 1])):
        with pytest.raises(ValueError, match="exclude"):
            knn_logits(angles(0), memory, labels, 3, exclude=exclude)
    with pytest.raises(ValueError, match="k is None"):
        knn_probabilities(angles(0), memory, labels, None, num_classes=3)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(features=torch.ones(1, 2), labels=torch.zeros(1, dtype=torch.long)), ["features", "(1, 2)"]),
        (dict(features=torch.ones(4)), ["features", "(4,)"]),
        (dict(features=torch.tensor([[1.0, 0], [1, 0], [0, 0], [1, 0]])), ["row 2 of features"]),
        (dict(labels=torch.zeros(3, dtype=torch.long)), ["labels", "(3,)", "features", "(4, 2)"]),
        (dict(labels=torch.full((4,), 2)), ["labels", "2", "0 to 1"]),
        (dict(ks=()), ["ks"]),
        (dict(ks=(3, 0)), ["ks", "0"]),
        (dict(fraction=0.0), ["fraction", "0.0"]),
        (dict(fraction=1.0), ["fraction", "1.0"]),
        (dict(temperature=0.0), ["temperature"]),
        (dict(num_classes=0), ["num_classes"]),
    ],
)
def test_input_of_choose_k_that_does_not_fit(change, words):
    arguments = dict(features=angles(0, 1, 2, 3), labels=torch.zeros(4, dtype=torch.long), num_classes=2) | change
    with pytest.raises(ValueError) as error:
        choose_k(**arguments)
    assert all(word in str(error.value) for word in words), error.value
