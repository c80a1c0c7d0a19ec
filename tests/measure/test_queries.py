"""What is kept of every query adds up to what is measured over all of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fglib.measure.queries import UNANSWERABLE, queries
from fglib.measure.within import within
from fglib.retrieval import evaluate_retrieval


def trained(features, coarse, fine):
    labels = {"coarse": coarse, "fine": fine}
    return SimpleNamespace(test_features=features, test_labels=labels.__getitem__)


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    fine = torch.randint(0, 12, (200,), generator=generator)
    coarse = fine // 4
    features = torch.randn(200, 5, generator=generator) + torch.nn.functional.one_hot(fine, 12)[:, :5]
    return trained(features, coarse, fine)


def test_means_are_those_of_the_measures(drawn):
    _, kept = queries(drawn)
    metrics, _ = within(drawn)
    for level in ("fine", "coarse"):
        report = evaluate_retrieval(drawn.test_features, drawn.test_labels(level), ks=(1,))
        assert kept[f"query_{level}"].mean() == pytest.approx(report.recall[1])
    assert 100 * kept["query_within"].mean() == pytest.approx(metrics["within_r1"])
    fine = evaluate_retrieval(drawn.test_features, drawn.test_labels("fine"), ks=(1,))
    assert np.nanmean(kept["query_precision"].astype(float)) == pytest.approx(fine.mean_average_precision, abs=1e-3)
    np.testing.assert_array_equal(kept["query_class"], drawn.test_labels("fine").numpy())


def test_one_query_at_a_time():
    """Four images on a line at angles 0, 1, 2.1 and 3.3 degrees: the nearest are 1, 0, 1 and 2."""
    angle = torch.tensor([0.0, 1.0, 2.1, 3.3]).deg2rad()
    features = torch.stack([angle.cos(), angle.sin()], 1)
    _, kept = queries(trained(features, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 2])))
    assert kept["query_fine"].tolist() == [1, 1, UNANSWERABLE, UNANSWERABLE]
    assert kept["query_coarse"].tolist() == [1, 1, 1, UNANSWERABLE]
    assert kept["query_within"].tolist() == [1, 1, UNANSWERABLE, UNANSWERABLE]


def test_a_coarse_class_of_a_single_fine_one_has_nothing_to_find_within():
    features = torch.eye(4)[[0, 0, 1, 1, 2, 2]] + 0.01 * torch.rand(6, 4)
    _, kept = queries(trained(features, torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 2, 2])))
    assert kept["query_within"].tolist() == [1, 1, 1, 1, UNANSWERABLE, UNANSWERABLE]
    assert kept["query_fine"].tolist() == [1] * 6
