"""What would have been measured on other test images: a bootstrap over the queries of recorded runs.

Where all seeds are tested on the same images, an interval over seeds says how far training is left to chance, and
nothing about which images happened to be in the test. Queries of one class are alike, so that classes are drawn, with
replacement, and each brings all its queries (a cluster bootstrap, as for surveys; Davison and Hinkley 1997, Sec. 3.8).
"""

from collections.abc import Mapping, Sequence, Set

import numpy as np

from fglib.lab import Run

DRAWS = 1000
# metrics that are means over queries, and the array of the measure `queries` that holds them query by query
OF_QUERIES = {
    "fine_r1": "query_fine",
    "coarse_r1": "query_coarse",
    "within_r1": "query_within",
    "fine_map": "query_precision",
}


def redraw(
    runs: Sequence[Run], by_seed: Mapping[int, Mapping[str, float]], names: Set[str]
) -> list[dict[str, np.ndarray]]:
    """Numbers (draws,) by `variant.metric` for each seed, of the same drawn classes in all runs.

    Of the names those that are means over queries. Empty where there are none, where a run has not kept its queries,
    and where runs were tested on different images.
    """
    wanted = [run for run in runs if run.plan.seed in by_seed]
    names = {name for name in names if name.split(".")[1] in OF_QUERIES}
    if not wanted or not names:
        return []
    if not all("queries" in run.measured for run in wanted):
        return []
    classes = wanted[0].arrays["query_class"]
    if not all(np.array_equal(run.arrays["query_class"], classes) for run in wanted):
        return []
    _, place = np.unique(classes, return_inverse=True)
    count = place.max() + 1
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)  # how often each class
    found: dict[int, dict[str, np.ndarray]] = {seed: {} for seed in by_seed}
    for run in wanted:
        for name in names:
            variant, metric = name.split(".")
            if variant == run.plan.variant:
                found[run.plan.seed][name] = _means(run.arrays[OF_QUERIES[metric]], place, drawn)
    return list(found.values())


def _means(values: np.ndarray, place: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Percent (draws,) of values (n,), at least 0 where they count, with each class taken as often as it was drawn."""
    values = values.astype(float)
    counts = values >= 0  # neither -1 nor NaN
    sums, sizes = (np.bincount(place, weights) for weights in (np.where(counts, values, 0), counts))
    return 100 * (drawn @ sums) / (drawn @ sizes)
