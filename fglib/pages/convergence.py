"""How fast runs converge, from the errors in their histories ("Subtle Differences", Figs. 5 and 6)."""

from collections.abc import Mapping

import numpy as np

from fglib.lab.records import Run


def error_curve(run: Run, name: str = "test_error") -> tuple[np.ndarray, np.ndarray]:
    """Epochs (m,) at which an error was taken during the training, and the errors (m,) in percent."""
    rows = [row for row in run.history if name in row]
    return np.array([row["epoch"] for row in rows]), np.array([row[name] for row in rows])


def epochs_to_reach(runs: Mapping[str, Run], baseline: str = "plain") -> dict[str, float]:
    """For each run {variant: run} of one seed the epochs until its test error is at most the baseline's last one.

    Named `variant.epochs_to_reach`. A run that never comes so far gets one epoch more than it had, and a run without
    errors in its history no number, as does everyone when the baseline is not among the runs.
    """
    if baseline not in runs or not len(error_curve(runs[baseline])[1]):
        return {}
    target = error_curve(runs[baseline])[1][-1]
    out = {}
    for variant, run in runs.items():
        epochs, errors = error_curve(run)
        if len(epochs):
            reached = epochs[errors <= target]
            out[f"{variant}.epochs_to_reach"] = float(reached[0] if len(reached) else epochs[-1] + 1)
    return out
