"""float64 in, float64 throughout: no function of the library rounds to float32 on the way.

A function of float64 is nearly linear over a billionth: a step a thousand times as long changes it a thousand times as
much. Rounded to float32 anywhere, it would not change at all, or by leaps.
"""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from fglib import boxes, losses, models, retrieval
from fglib.measure import explain, localization
from fglib.models import heads
from fglib.models.heads import ClassMapHead
from fglib.models.memory import MemoryBank

B, D, N, C = 6, 5, 9, 3
OF_INTEGERS = {"evaluate_ranking", "summary", "localization_error", "check_boxes", "tight_boxes"}  # and of booleans


def draw(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def ints(n, high, seed=1):
    return torch.randint(high, (n,), generator=torch.Generator().manual_seed(seed))


INDEX, OF_CLASS, LABELS = torch.arange(B), ints(B, C), torch.arange(N) % C
MEMORY, WEIGHT, CENTERS = draw(N, D, seed=2), draw(C, 4, seed=3), draw(C, 2, D, seed=4)
PEAKS, PATCHES = draw(2, 4, seed=5) > 0.6, draw(2, 4, 3, 3, seed=6) > 0.6
rows, maps = draw(B, D), draw(2, 4, 5, 5)


def in_place(function, start, x, *more):
    """A function that writes into its first argument."""
    target = start.clone()
    function(target, x, *more)
    return target


def moved(x):
    target, online = (nn.Linear(D, B, bias=False, dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        target.weight.fill_(0.3)
        online.weight.copy_(x)
    models.ema_update_(target, online, 0.9)
    return target.weight.detach()


def banked(x):
    bank = MemoryBank(N, D).double()
    bank.fill(MEMORY)
    bank.update(INDEX, x)
    return bank.vectors.clone()


def scored(images, _):
    return images.square().sum((1, 2, 3))


def cam(x):
    layer = nn.Conv2d(4, 2, 3, bias=False).double()
    nn.init.constant_(layer.weight, 0.1)
    return explain.layer_grad_cam(lambda images, _: layer(images).square().sum((1, 2, 3)), layer, x, INDEX[:2])


SMOOTH = {
    "center_loss": (lambda x: losses.center_loss(x, OF_CLASS, CENTERS), draw(B, 2, D)),
    "gaussian_mixture_loss": (lambda x: losses.gaussian_mixture_loss(x, OF_CLASS), rows),
    "gradient_boosting_cross_entropy": (lambda x: losses.gradient_boosting_cross_entropy(x, OF_CLASS, 2), rows),
    "instance_cross_entropy": (lambda x: losses.instance_cross_entropy(x, MEMORY, INDEX), rows),
    "instance_cross_entropy_within": (lambda x: losses.instance_cross_entropy_within(x, MEMORY, INDEX, LABELS), rows),
    "instance_loss": (lambda x: losses.instance_loss(x, draw(2, B, D, seed=7)), draw(2, B, D)),
    "knn_loss": (lambda x: losses.knn_loss(x, MEMORY, INDEX, LABELS), rows),
    "map_overlap": (losses.map_overlap, maps),
    "overlap_penalty": (lambda x: losses.overlap_penalty(x, "l2"), maps),
    "maximum_entropy_loss": (lambda x: losses.maximum_entropy_loss(x, OF_CLASS), rows),
    "pairwise_confusion_loss": (lambda x: losses.pairwise_confusion_loss(x, OF_CLASS), rows),
    "knn_logits": (lambda x: retrieval.knn_logits(x, MEMORY, LABELS, C), rows),
    "knn_probabilities": (lambda x: retrieval.knn_probabilities(x, MEMORY, LABELS, 7, num_classes=C), rows),
    "bilinear_attention_pool": (lambda x: models.bilinear_attention_pool(x, draw(2, 3, 5, 5, seed=8)), maps),
    "bilinear_upsample": (lambda x: models.bilinear_upsample(x, (9, 8)), maps),
    "diversify": (lambda x: models.diversify(x, PEAKS, PATCHES, 2), maps),
    "ema_update_": (moved, draw(B, D)),
    "orthogonal_rows_": (lambda x: models.orthogonal_rows_(x.clone()), draw(3, D)),
    "update_centers_": (lambda x: in_place(models.update_centers_, CENTERS, x, OF_CLASS, 0.3), draw(B, 2, D)),
    "MemoryBank": (banked, rows),
    "ClassMapHead": (lambda x: ClassMapHead(_linear()).maps(x), maps),
    "attention_map": (explain.attention_map, maps),
    "attention_share": (lambda x: explain.attention_share(x, draw(2, 8, 8, seed=9) > 0.5), maps[:, 0]),
    "class_activation_maps": (lambda x: heads.class_activation_maps(x, WEIGHT), maps),
    "layer_grad_cam": (cam, maps),
    "smoothed": (lambda x: boxes.smoothed(x, 3), maps[:, 0]),
    "box_iou": (lambda x: boxes.box_iou(x, _boxes(1)), None),
}


def _linear():
    linear = nn.Linear(4, C).double()
    with torch.no_grad():
        linear.weight.copy_(WEIGHT)
        linear.bias.zero_()
    return linear


def _boxes(seed):
    low = draw(B, 2, seed=seed)
    return torch.cat([low, low + 1 + draw(B, 2, seed=seed + 1)], 1)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_tiny_step_in_float64_changes_the_result_in_proportion(name):
    function, x = SMOOTH[name]
    x = _boxes(3) if x is None else x
    step = draw(*x.shape, seed=11) * 1e-9
    with torch.no_grad() if name != "layer_grad_cam" else torch.enable_grad():
        start, near, far = (function(x + length * step) for length in (0, 1, 1000))
    assert start.dtype == torch.float64
    one, thousand = near - start, far - start
    assert one.abs().max() > 1e-11
    torch.testing.assert_close(1000 * one, thousand, rtol=1e-2, atol=1e-2 * thousand.abs().max().item())


def test_integrated_gradients_are_float64_but_for_captums_weights_of_the_steps():
    x = draw(2, 3, 4, 4)
    found = explain.integrated_gradients(scored, x, INDEX[:2])
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, x.square().sum(1), rtol=1e-6, atol=0)


def test_every_public_function_is_covered():
    public = {n for room in (losses, retrieval, models) for n in room.__all__ if inspect.isfunction(getattr(room, n))}
    for room in (explain, boxes, localization):
        public |= {n for n, f in vars(room).items() if inspect.isfunction(f) and f.__module__ == room.__name__}
    public = {n for n in public if not n.startswith("_")} - {"check_maps", "build_trunk", "integrated_gradients"}
    assert public - SMOOTH.keys() - OF_INTEGERS == RANKED


# Rankings: an order that float32 cannot see

ANGLES = torch.tensor([3.0, 1.0, 2.0, 0.0, 4.0], dtype=torch.float64) * 1e-5 + 1e-3  # cosines differ by 1e-8
QUERY = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
CLOSE = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
ORDER, TWO = [3, 1, 2, 0, 4], torch.tensor([0, 0, 0, 1, 0])
SINGLE, HIT = torch.zeros(5, dtype=torch.long), torch.tensor([1])
RANKINGS = {
    "cosine_ranking": lambda q, g: retrieval.cosine_ranking(q, g),
    "nearest": lambda q, g: retrieval.nearest(q, g, 5),
    "oracle_ranking": lambda q, g: retrieval.oracle_ranking(q, g, SINGLE, SINGLE[:1]),
    "conditional_ranking": lambda q, g: retrieval.conditional_ranking(q, g, SINGLE, torch.zeros(1, 2)),
}
RANKED = RANKINGS.keys() | {"evaluate_retrieval", "choose_k", "box_from_map", "boxes_from_maps"}


@pytest.mark.parametrize("name", RANKINGS)
def test_rankings_compare_float64(name):
    assert RANKINGS[name](QUERY, CLOSE).tolist() == [ORDER]
    assert RANKINGS[name](QUERY.float(), CLOSE).tolist() == [ORDER]  # the wider of two types
    assert RANKINGS[name](QUERY.float(), CLOSE.float()).tolist() != [ORDER]


@pytest.mark.parametrize("average_precision", [True, False])
def test_evaluation_and_neighbours_compare_float64(average_precision):
    for wide in (True, False):
        items = (QUERY, CLOSE) if wide else (QUERY.float(), CLOSE.float())
        report = retrieval.evaluate_retrieval(
            items[0], HIT, items[1], TWO, ks=(1,), average_precision=average_precision
        )
        assert (report.recall[1] == 1) == wide
        assert (retrieval.knn_logits(*items, TWO, 2, k=1)[0, 1] > -torch.inf) == wide


@pytest.mark.parametrize("blocks", [1, 5])
def test_equal_items_of_float64_go_by_ascending_row(blocks):
    draws = torch.Generator().manual_seed(0)
    gallery = torch.nn.functional.normalize(torch.randn(3, 4, generator=draws, dtype=torch.float64))
    gallery = gallery[torch.randint(3, (50 * blocks,), generator=draws)]
    query = torch.randn(4, 4, generator=draws, dtype=torch.float64)
    for q, whole, some in zip(query, retrieval.cosine_ranking(query, gallery), retrieval.nearest(query, gallery, 30)):
        kinds = {tuple(row.tolist()): float(q @ row) for row in gallery}
        slow = sorted(range(len(gallery)), key=lambda j: (-kinds[tuple(gallery[j].tolist())], j))
        assert whole.tolist() == slow and some.tolist() == slow[:30]


def test_k_is_chosen_by_float64_neighbours():
    """Two classes at angles that differ by less than float32 sees."""
    labels = torch.arange(40) % 2
    angles = 1e-4 * labels + 1e-6 * torch.arange(40, dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin()], 1)
    assert retrieval.choose_k(x, labels, (1,), num_classes=2)[1][1] == 1
    assert retrieval.choose_k(x.float(), labels, (1,), num_classes=2)[1][1] < 1


def test_boxes_are_cut_at_float64():
    map = np.full((4, 4), 0.5 - 1e-12)
    map[0, 0], map[0, 1] = 1.0, 0.5
    assert boxes.box_from_map(map) == boxes.box_from_map(torch.tensor(map)) == (0, 0, 2, 1)
    assert boxes.boxes_from_maps(torch.tensor(map)[None]).tolist() == [[0, 0, 2, 1]]
