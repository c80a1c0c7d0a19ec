"""Cosines and their order: the part that all rankings share.

Similarities are compared in float32, or in float64 where the embeddings are, and equal ones go by ascending gallery
row. Queries are taken in chunks, so that no table of all pairs is ever held.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_BYTES = 128 * 2**20
WHOLE = 64  # bytes that a pair of float32 takes at most while whole queries are ranked and scored; of float64 twice
COUNTED = 12  # while they are not
_BLOCK = 64  # neighbouring gallery rows of which only the best is looked at first
_TILE = 16  # queries go into the product in multiples of this
_COLUMN = 0xFFFFFFFF  # the lower half of a packed integer


def similarities(
    query: Tensor, gallery: Tensor, exclude: Tensor, chunk_bytes: int, pair_bytes: int = WHOLE
) -> Iterator[tuple[slice, Tensor]]:
    """For each chunk of queries its rows and its cosines, (q, n) and padded to whole blocks with minus infinity.

    query (Q, d) and gallery (n, d) have unit length; exclude (Q,) is the gallery row to leave out, -1 for none: minus
    infinity as well. Blocks are what `rank_first` wants; of a full ranking the n first columns hold the items. Chunks
    share one table, which holds until the next is asked for: a new one each time would cost as much as the product.
    """
    padded, table = _pad(gallery, _BLOCK), None
    pair_bytes *= query.element_size() // 4
    for rows in chunks(query, padded, chunk_bytes, pair_bytes):
        part = _pad(query[rows], _TILE)
        table = part.new_empty(len(part), len(padded)) if table is None else table[: len(part)]
        yield rows, _similarity(part, padded, len(gallery), exclude[rows], table)


def chunks(query: Tensor, gallery: Tensor, chunk_bytes: int, pair_bytes: int = WHOLE) -> Iterator[slice]:
    """Slices of queries whose pairs with the gallery fit in `chunk_bytes`, of one query at least."""
    size = max(1, chunk_bytes // (pair_bytes * len(gallery)))
    return (slice(start, start + size) for start in range(0, len(query), size))


def first_bytes(k: int, n: int) -> int:
    """Bytes that a query-gallery pair takes at most while the k first of n items are found."""
    return COUNTED + round((WHOLE - COUNTED) * min(1.0, k * _BLOCK / n))


def over_rows(function: Callable[[range], object], count: int) -> None:
    """Call `function` with ranges that cover `count` rows, one for each of torch's threads, at the same time."""
    threads = min(torch.get_num_threads(), count)
    bounds = [count * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(function, map(range, bounds[:-1], bounds[1:])))  # which raises what was raised in a thread


def rank(similarity: Tensor) -> Tensor:
    """Columns from the most similar to the least, equal ones in ascending order. Overwrites its argument.

    A float32 and its column are packed into one integer, so that a single sort of integers settles value and tie. On
    the CPU numpy sorts them, several at a time.
    """
    if similarity.dtype == torch.float64:
        return similarity.add_(0.0).argsort(dim=1, descending=True, stable=True)
    packed = _pack(similarity, torch.arange(similarity.shape[1], device=similarity.device))
    if packed.device.type == "cpu":
        over_rows(lambda rows: packed[rows.start : rows.stop].numpy().sort(axis=1), len(packed))
    else:
        packed = packed.sort(dim=1).values
    return packed.bitwise_and_(_COLUMN)


def rank_first(similarity: Tensor, k: int) -> Tensor:
    """The k first columns of `rank`, or all, without ranking the rest.

    The k best items lie in the k blocks of neighbouring columns whose best items are best, blocks with equal best
    items taken in ascending order. So it takes a maximum over each block and two short sorts.
    """
    best = similarity.view(len(similarity), -1, _BLOCK).amax(2)  # (q, blocks)
    block = _top(best, torch.arange(best.shape[1], device=best.device), k)
    columns = (block[:, :, None] * _BLOCK + torch.arange(_BLOCK, device=block.device)).flatten(1)
    return _top(similarity.gather(1, columns), columns, k)


def _similarity(query: Tensor, gallery: Tensor, n: int, exclude: Tensor, table: Tensor) -> Tensor:
    """Cosines of unit vectors in `table`, for the rows of `exclude`; columns from n on and left out items are -inf.

    BLAS adds the last few rows and columns of a product in another order than the rest, so that equal items would
    differ in the last bit there, and a result would depend on the chunk. Rows of zeros keep all items off the edge.
    """
    with torch.autocast(query.device.type, enabled=False):
        similarity = torch.mm(query, gallery.T, out=table)[: len(exclude)]
    similarity[:, n:] = -torch.inf
    rows = (exclude >= 0).nonzero().squeeze(1)
    similarity[rows, exclude[rows]] = -torch.inf
    return similarity


def _pad(values: Tensor, multiple: int) -> Tensor:
    """Rows of zeros up to the next multiple."""
    return F.pad(values, (0, 0, 0, -len(values) % multiple))


def _top(similarity: Tensor, columns: Tensor, k: int) -> Tensor:
    """The k columns of highest similarity, or all, equal ones in ascending order. Overwrites `similarity`."""
    if similarity.dtype == torch.float64:
        columns, order = columns.expand_as(similarity).sort(dim=1)
        return columns.gather(1, rank(similarity.gather(1, order))[:, :k])
    packed = _pack(similarity, columns)
    return packed.topk(min(k, packed.shape[1]), largest=False).values.bitwise_and_(_COLUMN)


def _pack(similarity: Tensor, columns: Tensor) -> Tensor:
    """int64 that ascend as similarity descends, and with the column where similarities are equal.

    The bits of a float, read as an integer, ascend with the float when it is positive and descend when it is negative.
    """
    bits = similarity.add_(0.0).view(torch.int32)  # -0.0 becomes 0.0: they are equal
    packed = (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits).bitwise_not_().long()
    return packed.bitwise_left_shift_(32).bitwise_or_(columns)
