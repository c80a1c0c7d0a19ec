"""The bootstrap over queries against one written with loops, and where there is none."""

from types import SimpleNamespace

import numpy as np
import pytest

from fglib.pages.redrawn import DRAWS, redraw

CLASSES = np.repeat([0, 1, 2, 5, 6, 7, 8, 9], [3, 2, 4, 1, 2, 5, 2, 3])


def run(variant, seed, classes=CLASSES, measured=("retrieval", "queries")):
    """A run whose queries were answered at random."""
    generator = np.random.default_rng([seed, len(variant)])
    arrays = {
        "query_class": classes,
        "query_fine": generator.integers(-1, 2, len(classes)).astype(np.int8),
        "query_precision": np.where(generator.random(len(classes)) < 0.2, np.nan, generator.random(len(classes))),
    }
    return SimpleNamespace(plan=SimpleNamespace(variant=variant, seed=seed), measured=measured, arrays=arrays)


RUNS = [run(variant, seed) for variant in ("base", "ours") for seed in (0, 1, 2)]
SEEDS = dict.fromkeys((0, 1, 2), {})


def test_all_runs_are_measured_on_the_same_drawn_classes():
    found = redraw(RUNS, SEEDS, {"base.fine_r1", "ours.fine_r1", "ours.fine_map"})
    count = len(np.unique(CLASSES))
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
    assert len(found) == 3 and all(
        set(of_seed) == {"base.fine_r1", "ours.fine_r1", "ours.fine_map"} for of_seed in found
    )
    for one in RUNS:
        for metric, name in (("fine_r1", "query_fine"), ("fine_map", "query_precision")):
            if (key := f"{one.plan.variant}.{metric}") not in found[0]:
                continue
            for draw in range(0, DRAWS, 97):
                taken = []
                for label, times in zip(np.unique(CLASSES), drawn[draw]):
                    values = one.arrays[name][label == CLASSES].astype(float)
                    taken += list(values[values >= 0]) * times
                if taken:
                    assert found[one.plan.seed][key][draw] == pytest.approx(100 * np.mean(taken))


def test_redrawn_numbers_scatter_around_the_measured_one():
    classes = np.repeat(np.arange(100), 10)
    many = [run("base", 0, classes)]
    (found,) = redraw(many, {0: {}}, {"base.fine_r1"})
    right = many[0].arrays["query_fine"]
    means = [right[classes == c][right[classes == c] >= 0].mean() for c in range(100)]
    assert found["base.fine_r1"].mean() == pytest.approx(100 * right[right >= 0].mean(), abs=0.3)
    assert found["base.fine_r1"].std() == pytest.approx(100 * np.std(means) / 10, rel=0.2)


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        ([], {"base.fine_r1"}),
        (RUNS, {"base.coarse_top1"}),
        ([*RUNS, run("ours", 1, measured=("retrieval",))], {"base.fine_r1"}),
        ([*RUNS, run("ours", 1, CLASSES[::-1])], {"base.fine_r1"}),
    ],
)
def test_there_is_none_where_queries_were_not_kept_or_differ(runs, names):
    assert redraw(runs, SEEDS, names) == []


def test_runs_of_incomplete_seeds_are_left_out():
    found = redraw([*RUNS, run("base", 7, measured=())], SEEDS, {"base.fine_r1"})
    assert len(found) == 3


def test_what_is_no_mean_over_queries_is_left_out_and_the_rest_is_not():
    found = redraw(RUNS, SEEDS, {"base.fine_r1", "base.coarse_top1"})
    alone = redraw(RUNS, SEEDS, {"base.fine_r1"})
    assert [set(of_seed) for of_seed in found] == [{"base.fine_r1"}] * 3
    assert all(np.array_equal(a["base.fine_r1"], b["base.fine_r1"], equal_nan=True) for a, b in zip(found, alone))
