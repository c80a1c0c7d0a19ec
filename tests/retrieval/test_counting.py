"""Ranks by counting are the places in the whole ranking, ties and left out items included."""

import numpy as np
import pytest
import torch

from fglib.retrieval.counting import members_of, score_by_counting
from fglib.retrieval.similarity import over_rows


def scores_slowly(similarity, query_labels, exclude, labels):
    """(first, precision) of every query from a sort of (similarity, column) in Python."""
    out = []
    for row, wanted, left_out in zip(similarity.tolist(), query_labels.tolist(), exclude.tolist()):
        ranking = sorted((j for j in range(len(row)) if j != left_out), key=lambda j: (-row[j], j))
        ranks = [place for place, j in enumerate(ranking, start=1) if labels[j] == wanted]
        mean = sum(hit / rank for hit, rank in enumerate(ranks, start=1)) / len(ranks) if ranks else float("nan")
        out.append((ranks[0] if ranks else float("inf"), mean))
    return torch.tensor(out, dtype=torch.float64).unbind(1)


@pytest.mark.parametrize("values", [2, 5, 50, 10**6])  # many ties, some, few, none
def test_against_a_sort_in_python(values):
    draw = torch.Generator().manual_seed(values)
    similarity = torch.randint(values, (20, 300), generator=draw) / values - 0.5
    similarity[similarity == 0] *= torch.randint(0, 2, (int((similarity == 0).sum()),), generator=draw) * 2.0 - 1
    labels = torch.randint(6, (300,), generator=draw)
    labels[labels == 4] = 3  # label 4 has no item, and the queries of label 6 neither
    query_labels, exclude = torch.arange(20) % 7, torch.arange(20) * 3
    exclude[::2] = -1
    for row, column in enumerate(exclude.tolist()):
        if column >= 0:
            similarity[row, column] = -torch.inf
    first, precision = score_by_counting(similarity, query_labels, exclude, members_of(labels))
    expected_first, expected_precision = scores_slowly(similarity, query_labels, exclude, labels.tolist())
    assert torch.equal(first, expected_first) and first.isinf().any() and first.isfinite().any()
    torch.testing.assert_close(precision, expected_precision, rtol=1e-14, atol=0, equal_nan=True)


def test_the_only_relevant_item_left_out_leaves_nothing_to_find():
    similarity = torch.tensor([[0.5, -torch.inf, 0.1]])
    first, precision = score_by_counting(
        similarity, torch.tensor([1]), torch.tensor([1]), members_of(torch.tensor([0, 1, 0]))
    )
    assert first.isinf().all() and precision.isnan().all()


def test_a_single_item():
    first, precision = score_by_counting(
        torch.tensor([[0.25]]), torch.tensor([0]), torch.tensor([-1]), members_of(torch.tensor([0]))
    )
    assert first.tolist() == precision.tolist() == [1.0]


def test_members_are_the_rows_of_each_label():
    found = members_of(torch.tensor([7, 2, 7, 7, 0]))
    assert {k: v.tolist() for k, v in found.items()} == {0: [4], 2: [1], 7: [0, 2, 3]}


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_row_is_covered_once_and_an_error_comes_through(count):
    seen = np.zeros(count)

    def visit(rows):
        seen[rows.start : rows.stop] += 1

    over_rows(visit, count)
    assert (seen == 1).all()
    with pytest.raises(ZeroDivisionError):
        over_rows(lambda rows: 1 / 0, count)
