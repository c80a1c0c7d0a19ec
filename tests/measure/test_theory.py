"""The theorems' constants by plain loops over the printed formulas, and the propositions where the answer is known."""

import math

import numpy as np
import pytest
import torch

from fglib.measure import theory


def trained(sizes=(4, 4, 4, 4), scale=0.4, seed=0):
    """Features and heads of a small task: two super-classes, two fine classes each, with these sizes."""
    draw = torch.Generator().manual_seed(seed)
    fine = torch.repeat_interleave(torch.arange(4), torch.tensor(sizes))
    coarse = fine // 2
    center = torch.randn(4, 3, generator=draw)
    features = scale * (center[fine] + 0.3 * torch.randn(len(fine), 3, generator=draw))
    weight = features + 0.1 * scale * torch.randn(len(fine), 3, generator=draw)
    super_weight = torch.stack([features[coarse == s].mean(0) for s in (0, 1)])
    return features, weight, super_weight, coarse, fine


def dots(f, weights):
    return [sum(a * b for a, b in zip(f, w)) for w in weights]


def by_loops(features, weight, super_weight, coarse, fine, within):
    """Everything as the appendix prints it, without logarithms."""
    f, w, wb = features.double().tolist(), weight.double().tolist(), super_weight.double().tolist()
    y_b, y_f, n = coarse.tolist(), fine.tolist(), len(f)
    alpha, beta, a, b = [], [], [], []
    for i in range(n):
        group = [j for j in range(n) if not within or y_b[j] == y_b[i]]
        e = [math.exp(s) for s in dots(f[i], w)]
        alpha.append(e[i] / sum(e[j] for j in group))
        a.append(sum(e[j] for j in group if j != i))
        e = [math.exp(s) for s in dots(f[i], wb)]
        beta.append(e[y_b[i]] / sum(e))
        b.append(sum(e) - e[y_b[i]])
    c = max(math.sqrt(sum(v * v for v in row)) for row in f + w + wb)
    out = {"alpha": min(alpha), "beta": min(beta), "alpha_mean": sum(alpha) / n, "beta_mean": sum(beta) / n, "c": c}
    alpha, beta, a, b = min(alpha), min(beta), min(a), min(b)

    def root(alpha):
        first = math.sqrt(2 * c**2 - 2 * math.log(a * alpha / (1 - alpha)))
        return first + math.sqrt(2 * c**2 - 2 * math.log(b * beta / (1 - beta)))

    if within:
        others = max(sum(y != mine for y in y_b) for mine in y_b)
        c2 = others * math.exp(2 * c * root(alpha))
        alpha = 1 / (1 / alpha + (1 - beta) * c2 / beta)
        out |= {"log10_alpha_prime": math.log10(alpha), "log10_c2": math.log10(c2)}
    z = [y_f.count(y) for y in y_f]
    h = sum(math.exp(-2 * c * (k - 1) / k * root(alpha)) for k in z) / n
    means = []
    for s in sorted(set(y_f)):
        rows = [w[j] for j in range(n) if y_f[j] == s]
        means.append([sum(column) / len(rows) for column in zip(*rows)])
    measured = 0
    for i in range(n):
        e = [math.exp(s) for s in dots(f[i], means)]
        measured += e[y_f[i]] / sum(e) / n
    bound = alpha * min(z) * h
    out |= {"z": min(z), "log10_h": math.log10(h), "log10_bound": math.log10(bound), "measured": measured}
    return out | {
        "log10_measured": math.log10(measured),
        "chance": 1 / len(set(y_f)),
        "holds": float(measured >= bound),
    }


@pytest.mark.parametrize("sizes", [(4, 4, 4, 4), (2, 5, 3, 7)])
@pytest.mark.parametrize("within", [False, True])
def test_theorems_by_loops(sizes, within):
    task = trained(sizes)
    expected = by_loops(*task, within)
    theorem = theory.theorem_2 if within else theory.theorem_1
    assert theorem(*task) == pytest.approx(expected, rel=1e-6)
    shuffle = torch.randperm(len(task[0]), generator=torch.Generator().manual_seed(1))
    features, weight, super_weight, coarse, fine = task
    shuffled = (features[shuffle], weight[shuffle], super_weight, coarse[shuffle], fine[shuffle])
    assert theorem(*shuffled) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("theorem", [theory.theorem_1, theory.theorem_2])
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("sizes", [(4, 4, 4, 4), (1, 9, 2, 20)])
def test_the_bound_holds(theorem, scale, sizes):
    for seed in range(5):
        found = theorem(*trained(sizes, scale, seed))
        assert found["log10_measured"] >= found["log10_bound"] and found["holds"] == 1
        assert all(math.isfinite(value) for value in found.values())


def test_the_smallest_class_leads_the_bound():
    """With all logits zero, alpha = 1/n, h = 1, every fine class has probability 1/F: z must be the smallest class.

    The mean class size of an image, (9 * 9 + 1) / 10, would promise 0.82 of at most 0.5.
    """
    nothing = torch.zeros(10, 3)
    label = torch.tensor([0] * 9 + [1])
    found = theory.theorem_1(nothing, nothing, torch.zeros(2, 3), label, label)
    assert found["measured"] == pytest.approx(0.5) and found["alpha"] == pytest.approx(0.1)
    assert 10 ** found["log10_bound"] == pytest.approx(0.1)


def test_probabilities_that_round_to_one_keep_their_odds():
    """Two images with logits of 900 and -900: a alpha / (1 - alpha) is exp(900) exactly, and c^2 is 900."""
    features = torch.tensor([[30.0], [-30.0]])
    label = torch.tensor([0, 1])
    found = theory.theorem_1(features, features, features, label, label)
    assert found["alpha"] == found["beta"] == 1 and found["c"] == 30
    assert found["log10_h"] == 0 and found["log10_bound"] == 0  # z = 1: nothing is lost
    four = torch.tensor([[30.0], [29.0], [-30.0], [-29.0]])
    label = torch.tensor([0, 0, 1, 1])
    found = theory.theorem_1(four, four, torch.tensor([[30.0], [-30.0]]), label, label)
    # Image 1 has own logit 841 against 870 of image 0, so log odds -29; the smallest residual is that of image 0,
    # exp(870). Super-class logits are 30 * 29 at least, and -30 * 29 the largest residual, -900 the smallest.
    instance = math.sqrt(2 * 900 - 2 * (870 - 29))
    superclass = math.sqrt(2 * 900 - 2 * (-900 + 2 * 870))
    assert found["log10_h"] == pytest.approx(-2 * 30 * 0.5 * (instance + superclass) / math.log(10), rel=1e-9)


def test_many_images_are_taken_in_parts(monkeypatch):
    features = trained()[0].double()
    whole = theory._instance_odds(features, features, torch.zeros(16))
    monkeypatch.setattr(theory, "CHUNK", 3 * 16)
    for part, expected in zip(theory._instance_odds(features, features, torch.zeros(16)), whole):
        torch.testing.assert_close(part, expected)


@pytest.mark.parametrize(
    "change, words",
    [
        ({1: torch.zeros(15, 3)}, ["instance_weight", "(15, 3)", "(16, 3)"]),
        ({2: torch.zeros(2, 4)}, ["super_weight", "(2, 4)", "(16, 3)"]),
        ({2: torch.zeros(1, 3)}, ["super_weight", "(1, 3)"]),
        ({3: torch.zeros(15, dtype=torch.long)}, ["coarse", "(15,)"]),
        ({3: torch.zeros(16, dtype=torch.long)}, ["16 images of 1 super-classes"]),
        ({4: torch.arange(16) % 4}, ["a fine class lies in two super-classes"]),
    ],
)
def test_theorems_refuse_what_does_not_fit(change, words):
    task = [change.get(i, value) for i, value in enumerate(trained())]
    for theorem in (theory.theorem_1, theory.theorem_2):
        with pytest.raises(ValueError) as error:
            theorem(*task)
        assert all(word in str(error.value) for word in words), error.value


def test_theorem_2_needs_two_images_of_a_superclass():
    features = torch.ones(3, 2)
    labels = torch.tensor([0, 0, 1])
    with pytest.raises(ValueError, match="single image"):
        theory.theorem_2(features, features, torch.ones(2, 2), labels, labels)
    assert theory.theorem_1(features, features, torch.ones(2, 2), labels, labels)["holds"] == 1


def test_proposition_1_fine_classes_coincide():
    found = theory.proposition_1()
    assert found == {"super_accuracy": 1.0, "fine_accuracy": found["chance"], "chance": 0.5}
    x, superclass, fine = theory.proposition_1_points()
    for s in (0, 1):
        one, other = (x[fine == f] for f in np.unique(fine[superclass == s]))
        np.testing.assert_array_equal(one, other)


def test_proposition_1_separation_brings_the_fine_classes_back():
    accuracy = [theory.proposition_1(separation)["fine_accuracy"] for separation in (0.0, 0.3, 2.0)]
    assert accuracy[0] < accuracy[1] < accuracy[2] == 1.0
    assert theory.proposition_1(2.0)["super_accuracy"] == 1.0


def test_proposition_2_is_xor():
    assert theory.proposition_2() == {"instance_accuracy": 1.0, "fine_accuracy": 0.75}
    x, fine = theory.proposition_2_points()
    # The midpoints of both classes are the same point: no line has one class on each side.
    np.testing.assert_allclose(x[fine == 0].mean(0), x[fine == 1].mean(0), atol=1e-12)


def test_proposition_2_away_from_xor():
    assert theory.proposition_2(-80)["fine_accuracy"] == 0.75  # still beyond the neighbour at 135 degrees
    assert theory.proposition_2(-100)["fine_accuracy"] == 1.0  # past it: both of its class on one side
    assert theory.proposition_2(-100)["instance_accuracy"] == 1.0


@pytest.mark.parametrize(
    "x, labels, best",
    [
        ([[0.0], [1.0], [2.0]], [0, 1, 0], 2 / 3),
        ([[0.0], [1.0], [2.0]], [0, 0, 1], 1.0),
        ([[0.0, 0.0], [0.0, 0.0]], [0, 1], 0.5),
        ([[0.0], [1.0]], [1, 1], 1.0),
    ],
)
def test_best_linear_accuracy(x, labels, best):
    assert theory.best_linear_accuracy(np.array(x), np.array(labels)) == pytest.approx(best)


def test_best_linear_accuracy_tries_all_labellings_of_few_points():
    with pytest.raises(ValueError, match="13 points"):
        theory.best_linear_accuracy(np.zeros((13, 2)), np.zeros(13))
