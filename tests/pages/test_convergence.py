"""Error curves and epochs to reach the baseline, on histories written by hand."""

import numpy as np
import pytest

from fglib.lab.records import Run
from fglib.pages.convergence import epochs_to_reach, error_curve


def run(test_errors, every=1):
    """A run with a test error (and half of it on the training set) every few epochs."""
    history = []
    for epoch in range(1, every * len(test_errors) + 1):
        row = {"epoch": epoch, "lr": 0.1, "total": 1.0}
        if epoch % every == 0:
            error = test_errors[epoch // every - 1]
            row |= {"test_error": error, "train_error": error / 2}
        history.append(row)
    return Run(None, {}, history, {}, ())


WITHOUT = Run(None, {}, [{"epoch": 1, "lr": 0.1, "total": 1.0}], {}, ())


@pytest.mark.parametrize("every", [1, 3])
def test_a_curve_has_a_point_for_each_error(every):
    for name, expected in (("test_error", [40.0, 20.0, 30.0]), ("train_error", [20.0, 10.0, 15.0])):
        epochs, errors = error_curve(run([40.0, 20.0, 30.0], every), name)
        assert epochs.tolist() == [every, 2 * every, 3 * every] and errors.tolist() == expected
    assert error_curve(run([40.0]))[1].tolist() == [40.0]  # the test error unless another is named


def test_a_run_without_errors_has_an_empty_curve():
    for history in (WITHOUT, Run(None, {}, [], {}, ())):
        epochs, errors = error_curve(history)
        assert isinstance(epochs, np.ndarray) and len(epochs) == len(errors) == 0


def test_epochs_until_the_baselines_last_error():
    runs = {
        "plain": run([50.0, 19.0, 30.0, 20.0]),  # was lower once: reaches its own last error earlier
        "fast": run([20.0, 60.0, 60.0, 60.0]),  # once is enough, equal is enough
        "late": run([60.0, 50.0, 40.0, 10.0]),
        "never": run([60.0, 50.0, 40.0, 20.5]),
        "without": WITHOUT,
    }
    expected = {
        "plain.epochs_to_reach": 2.0,
        "fast.epochs_to_reach": 1.0,
        "late.epochs_to_reach": 4.0,
        "never.epochs_to_reach": 5.0,
    }
    assert epochs_to_reach(runs) == expected


def test_epochs_are_those_of_the_history_not_points_of_the_curve():
    runs = {"plain": run([50.0, 30.0], 10), "ours": run([40.0, 25.0, 20.0], 5), "never": run([60.0, 50.0], 10)}
    expected = {"plain.epochs_to_reach": 20.0, "ours.epochs_to_reach": 10.0, "never.epochs_to_reach": 21.0}
    assert epochs_to_reach(runs) == expected


def test_the_baseline_may_be_another_run():
    runs = {"plain": run([10.0, 5.0]), "ours": run([10.0, 10.0])}
    assert epochs_to_reach(runs, "ours") == {"plain.epochs_to_reach": 1.0, "ours.epochs_to_reach": 1.0}


def test_without_the_baseline_or_its_errors_there_is_no_number():
    assert epochs_to_reach({"ours": run([1.0])}) == {}
    assert epochs_to_reach({"plain": WITHOUT, "ours": run([1.0])}) == {}
    assert epochs_to_reach({"plain": run([2.0]), "ours": run([1.0])}, "base") == {}
    assert epochs_to_reach({}) == {}
