"""Where the relevant items of a query stand in its ranking, without ranking the others; on the CPU.

An item's rank is one more than the number of items that are more similar, or as similar and of a lower row. So it takes
a sort of the bare similarities and a look-up of the relevant ones in it. numpy sorts bare floats many at a time where
the processor can, ten times as fast as torch sorts them with their columns, and leaves the other threads running.

One sort of similarity, row and relevance packed into 64 bits gives the same numbers in twice the time: 7.0 to 7.4 times
the product of all similarities, where counting takes 3.3 to 3.4 (50,000 items, d 128, one thread and two).
"""

import numpy as np
import torch
from torch import Tensor

from fglib.retrieval.similarity import over_rows, rank

_TOGETHER = 16  # queries that a thread sorts at a time: threads get in each other's way between one call and the next
_FEW = 32  # ties that are counted one by one; above, the whole query is ranked


def score_by_counting(
    similarity: Tensor, query_labels: Tensor, exclude: Tensor, members: dict[int, np.ndarray]
) -> tuple[Tensor, Tensor]:
    """Rank of the first relevant item (infinite without one) and average precision (NaN without one), both (q,).

    similarity: (q, n), minus infinity where `exclude` (q,) leaves an item out. members: the ascending rows of the items
    of each label.
    """
    first = np.full(len(similarity), np.inf)
    precision = np.full(len(similarity), np.nan)
    table, labels, left_out = similarity.numpy(), query_labels.tolist(), exclude.tolist()
    nothing = np.empty(0, dtype=np.int64)

    def score(rows: range) -> None:
        for start in range(rows.start, rows.stop, _TOGETHER):
            some = range(start, min(start + _TOGETHER, rows.stop))
            ascending = np.sort(table[some.start : some.stop], axis=1)
            for i in some:
                relevant = members.get(labels[i], nothing)
                if left_out[i] >= 0:
                    relevant = relevant[relevant != left_out[i]]
                if len(relevant):
                    ranks = _ranks(table[i], ascending[i - start], relevant)
                    terms = np.arange(1, len(ranks) + 1) / ranks
                    first[i] = ranks[0]
                    precision[i] = terms.cumsum()[-1] / len(ranks)  # summed in order, as of a given ranking: equal bits

    over_rows(score, len(table))
    return torch.from_numpy(first), torch.from_numpy(precision)


def members_of(labels: Tensor) -> dict[int, np.ndarray]:
    """The ascending rows of each label."""
    ordered, rows = labels.sort(stable=True)
    present, counts = ordered.unique_consecutive(return_counts=True)
    parts = np.split(rows.numpy(), counts.cumsum(0)[:-1].tolist())
    return dict(zip(present.tolist(), parts))


def _ranks(row: np.ndarray, ascending: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Ascending ranks, from 1, of some columns of a row (n,) in its order by `rank`; `ascending` is the row sorted."""
    values = row[columns]
    order = values.argsort()
    values, columns = values[order], columns[order]
    above = ascending.searchsorted(values, "right")  # at above - 1 stands the value itself
    ranks = len(row) + 1 - above
    tied = (ascending[above - 2] == values).nonzero()[0]  # of a single item -2 is the item itself: no harm
    if len(tied) > _FEW:
        place = np.empty(len(row), dtype=np.int64)
        place[rank(torch.from_numpy(row[None].copy()))[0].numpy()] = np.arange(1, len(row) + 1)
        ranks = place[columns]
    else:
        for i in tied:
            ranks[i] += np.count_nonzero(row[: columns[i]] == values[i])
    return np.sort(ranks)
