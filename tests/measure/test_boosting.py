"""Gradients of both losses class by class: Eqs. 13 and 14 with loops, and what Eq. 16 says of them."""

import math

import pytest
import torch

from fglib.measure.boosting import KINDS, gradient_signs, gradients

B, C = 5, 9


def problem():
    draw = torch.Generator().manual_seed(0)
    return 2 * torch.randn(B, C, generator=draw, dtype=torch.float64), torch.randint(C, (B,), generator=draw)


def softmax_slowly(scores):
    total = math.fsum(math.exp(s) for s in scores.values())
    return {c: math.exp(s) / total for c, s in scores.items()}


@pytest.mark.parametrize("k", [1, 3, C - 2, C - 1, C, 100])
def test_gradients_are_eqs_13_and_14(k):
    logits, target = problem()
    plain, boosted, kind = gradients(logits, target, k)
    assert plain.shape == boosted.shape == kind.shape == (B, C)
    for i, label in enumerate(target.tolist()):
        scores = dict(enumerate(logits[i].tolist()))
        p = softmax_slowly(scores)
        kept = sorted((c for c in scores if c != label), key=lambda c: -scores[c])[:k]
        q = softmax_slowly({c: scores[c] for c in [label, *kept]})
        for c in range(C):
            what = "label" if c == label else "kept" if c in kept else "dropped"
            assert KINDS[kind[i, c]] == what
            assert plain[i, c].item() == pytest.approx(p[c] - (c == label), abs=1e-12)
            assert boosted[i, c].item() == pytest.approx(q.get(c, 0.0) - (c == label), abs=1e-12)


def test_negatives_that_tie_are_all_kept():
    logits = torch.tensor([[5.0, 3.0, 3.0, 1.0, 0.0], [3.0, 3.0, 3.0, 1.0, 4.0]], dtype=torch.float64)
    _, boosted, kind = gradients(logits, torch.tensor([4, 0]), 2)
    names = [[KINDS[j] for j in row] for row in kind]
    assert names[0] == ["kept", "kept", "kept", "dropped", "label"]
    assert names[1] == ["label", "kept", "kept", "dropped", "kept"]
    assert torch.equal(boosted == 0, kind == KINDS.index("dropped"))


def test_the_scores_stay_as_they_are_and_gradients_are_taken_also_where_none_are_kept():
    logits, target = problem()
    leaf = logits.clone().requires_grad_()
    with torch.no_grad():
        plain, boosted, _ = gradients(leaf, target, 2)
    assert torch.equal(leaf.detach(), logits) and leaf.grad is None
    assert plain.abs().sum() > 0 and boosted.abs().sum() > 0
    assert not plain.requires_grad and not boosted.requires_grad


def test_signs_slowly():
    found = gradient_signs(draws=20, classes=12, k=3, seed=4)
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(20, 12, dtype=torch.float64, generator=generator)
    target = torch.randint(12, (20,), generator=generator)
    plain, boosted, kind = gradients(logits, target, 3)
    gains, dropped, label, sums = [], [], [], []
    for i in range(20):
        sums.append(abs(math.fsum(boosted[i].tolist())))
        for c in range(12):
            what, ratio = KINDS[kind[i, c]], (boosted[i, c] / plain[i, c]).item()
            if what == "dropped":
                dropped.append(abs(boosted[i, c].item()))
            else:
                (gains if what == "kept" else label).append(ratio)
    assert found["kept_gain"] == min(gains) and found["label_size"] == max(label)
    assert found["dropped"] == max(dropped) == 0 and found["row_sum"] == pytest.approx(max(sums), abs=1e-15)


def test_kept_negatives_grow_the_label_shrinks_and_the_rest_is_zero():
    for seed in range(3):
        found = gradient_signs(seed=seed)
        assert found["kept_gain"] > 1 > found["label_size"] > 0
        assert found["dropped"] == 0 and found["row_sum"] < 1e-14 and found["equal"] == 0
    assert gradient_signs() == gradient_signs() != gradient_signs(seed=1)
