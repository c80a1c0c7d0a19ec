"""Retrieval against plain loops: sort by (-similarity, row), walk down the ranking, count."""

import math

import pytest
import torch

from fglib.retrieval import cosine_ranking, evaluate_ranking, evaluate_retrieval, nearest, summary


def by_loops(query, query_labels, gallery, gallery_labels, ks, exclude):
    """Per query: (recall at each k, average precision), or None where nothing is relevant."""
    results = []
    for q, label, left_out in zip(query.double(), query_labels.tolist(), exclude):
        scores = []
        for j, g in enumerate(gallery.double()):
            if j != left_out:
                scores.append((-float(q @ g / q.norm() / g.norm()), j))
        relevant = [int(gallery_labels[j]) == label for _, j in sorted(scores)]
        if not any(relevant):
            results.append(None)
            continue
        precisions = [sum(relevant[: r + 1]) / (r + 1) for r in range(len(relevant)) if relevant[r]]
        results.append(([any(relevant[:k]) for k in ks], sum(precisions) / len(precisions)))
    return results


def check(report, expected, ks):
    answered = [r for r in expected if r is not None]
    assert report.num_queries == len(expected)
    assert report.num_skipped == len(expected) - len(answered)
    for i, k in enumerate(ks):
        hits = sum(recall[i] for recall, _ in answered)
        assert report.recall[k] == pytest.approx(hits / len(answered))
        assert report.recall_zero_counted[k] == pytest.approx(hits / len(expected))
    for value, result in zip(report.average_precision.tolist(), expected, strict=True):
        assert math.isnan(value) if result is None else value == pytest.approx(result[1])
    assert report.mean_average_precision == pytest.approx(sum(ap for _, ap in answered) / len(answered))


def angles(*degrees):
    """Unit vectors in the plane: their cosine is the cosine of the angle between them."""
    radians = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], 1).float()


@pytest.mark.parametrize("size", [5, 63, 64, 65, 200])
def test_gallery_against_loops(size):
    draw = torch.Generator().manual_seed(size)
    query, gallery = torch.randn(11, 7, generator=draw), torch.randn(size, 7, generator=draw)
    query_labels = torch.randint(6, (11,), generator=draw)
    gallery_labels = torch.randint(5, (size,), generator=draw)  # label 5 is never in the gallery
    exclude = torch.randint(-1, size, (11,), generator=draw)
    ks = (1, 2, 4, 8, 500)
    expected = by_loops(query, query_labels, gallery, gallery_labels, ks, exclude)
    check(evaluate_retrieval(query, query_labels, gallery, gallery_labels, ks, exclude), expected, ks)


def test_queries_against_each_other_leave_themselves_out():
    draw = torch.Generator().manual_seed(1)
    query, labels = torch.randn(40, 5, generator=draw), torch.randint(12, (40,), generator=draw)
    labels[7] = 99  # alone in its class: skipped
    expected = by_loops(query, labels, query, labels, (1, 2, 4, 8), range(40))
    assert expected[7] is None
    check(evaluate_retrieval(query, labels), expected, (1, 2, 4, 8))


def test_recall_alone_is_the_same_recall():
    draw = torch.Generator().manual_seed(2)
    query, labels = torch.randn(300, 4, generator=draw), torch.randint(60, (300,), generator=draw)
    ks = (1, 2, 10, 100, 299, 1000)
    full = evaluate_retrieval(query, labels, ks=ks)
    alone = evaluate_retrieval(query, labels, ks=ks, average_precision=False)
    assert alone.recall == full.recall and alone.recall_zero_counted == full.recall_zero_counted
    assert alone.num_skipped == full.num_skipped
    assert alone.average_precision is None and math.isnan(alone.mean_average_precision)


@pytest.mark.parametrize("average_precision", [True, False])
def test_chunks_do_not_matter(average_precision):
    draw = torch.Generator().manual_seed(3)
    query = torch.randint(-1, 2, (57, 6), generator=draw).float() + 0.25  # plenty of ties
    labels = torch.randint(9, (57,), generator=draw)
    reports = [
        evaluate_retrieval(query, labels, chunk_bytes=size, average_precision=average_precision)
        for size in (1, 57 * 40 * 10, 2**30)
    ]
    for report in reports[1:]:
        assert report.recall == reports[0].recall
        if average_precision:
            torch.testing.assert_close(
                report.average_precision, reports[0].average_precision, rtol=0, atol=0, equal_nan=True
            )


def test_ties_go_by_gallery_row():
    """Three rows at the same place: the relevant one is third, so its rank is 3 whatever the sort does."""
    gallery = angles(30, 30, 30, 200)
    report = evaluate_retrieval(angles(30), torch.tensor([1]), gallery, torch.tensor([0, 0, 1, 0]), ks=(1, 2, 3))
    assert report.recall == {1: 0.0, 2: 0.0, 3: 1.0}
    assert report.mean_average_precision == pytest.approx(1 / 3)


@pytest.mark.parametrize("size", [5, 64, 77, 1001])
@pytest.mark.parametrize("dim", [3, 7, 64])
def test_copies_of_an_item_are_ties(size, dim):
    """Wherever copies lie in the gallery, their similarities are equal bit for bit, so they come in order of row."""
    draw = torch.Generator().manual_seed(size + dim)
    originals = torch.randn(3, dim, generator=draw)
    copy_of = torch.randint(3, (size,), generator=draw)
    for queries in (1, 2, 19):
        query = torch.randn(queries, dim, generator=draw)
        for q, rows in zip(query, nearest(query, originals[copy_of], size)):
            order = torch.nn.functional.cosine_similarity(q[None], originals).argsort(descending=True)
            assert rows.tolist() == [j for o in order.tolist() for j in range(size) if copy_of[j] == o]


def test_a_collapsed_embedding_ranks_by_row():
    """All items alike, more of them than a block holds: the order is that of the rows."""
    gallery = torch.ones(500, 3)
    expected = torch.arange(500).expand(4, -1)
    assert torch.equal(nearest(torch.ones(4, 3), gallery, k=500), expected)
    assert torch.equal(nearest(torch.ones(4, 3), gallery, k=130), expected[:, :130])


def test_zero_and_minus_zero_are_a_tie():
    query = torch.tensor([[1.0, 0.0]])
    gallery = torch.tensor([[-0.0, 1.0], [0.0, 1.0], [-0.0, 1.0], [-1.0, 0.0], [1.0, 0.0]])
    assert nearest(query, gallery, k=5).tolist() == [[4, 0, 1, 2, 3]]


def test_nearest_against_loops_with_rows_left_out():
    draw = torch.Generator().manual_seed(4)
    query, gallery = torch.randn(9, 3, generator=draw), torch.randn(150, 3, generator=draw)
    exclude = torch.tensor([-1, 0, 149, 64, 63, 5, 77, -1, 3])
    cosine = torch.nn.functional.normalize(query.double()) @ torch.nn.functional.normalize(gallery.double()).T
    for k in (1, 5, 149, 150, 400):
        rows = nearest(query, gallery, k, exclude)
        assert rows.shape == (9, min(k, 150))
        for i, left_out in enumerate(exclude.tolist()):
            order = [j for j in sorted(range(150), key=lambda j: -float(cosine[i, j])) if j != left_out]
            assert rows[i].tolist() == (order + [-1] * (150 - len(order)))[:k]


def test_length_does_not_matter_not_even_extreme_ones():
    draw = torch.Generator().manual_seed(5)
    query, labels = torch.randn(30, 4, generator=draw), torch.randint(5, (30,), generator=draw)
    scale = 10.0 ** torch.randint(-37, 37, (30, 1), generator=draw)  # the squares leave float32
    plain, scaled = evaluate_retrieval(query, labels), evaluate_retrieval(query * scale, labels)
    assert scaled.recall == plain.recall
    torch.testing.assert_close(scaled.average_precision, plain.average_precision)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types(dtype):
    query, labels = angles(0, 10, 100, 115, 220, 240).to(dtype), torch.tensor([0, 0, 1, 1, 2, 2])
    report = evaluate_retrieval(query.requires_grad_(), labels)
    assert report.recall[1] == 1.0 and report.mean_average_precision == 1.0
    assert not report.average_precision.requires_grad


def test_autocast_does_not_blur_the_ranking():
    query, labels = angles(0, 1, 2, 3, 4, 5), torch.tensor([0, 0, 1, 1, 2, 2])
    with torch.autocast("cpu", torch.bfloat16):
        blurred = evaluate_retrieval(query, labels)
    assert blurred.recall == evaluate_retrieval(query, labels).recall


def test_all_queries_skipped_is_nan_and_no_warning():
    report = evaluate_retrieval(angles(0, 10, 20), torch.arange(3))
    assert report.num_skipped == report.num_queries == 3
    assert all(math.isnan(value) for value in report.recall.values())
    assert report.recall_zero_counted == {1: 0.0, 2: 0.0, 4: 0.0, 8: 0.0}
    assert math.isnan(report.mean_average_precision) and report.average_precision.isnan().all()


def test_a_single_query_has_nothing_to_find():
    assert evaluate_retrieval(angles(0), torch.tensor([0]), ks=(1,)).num_skipped == 1


def test_one_class_is_always_right():
    report = evaluate_retrieval(angles(0, 90, 180), torch.zeros(3, dtype=torch.long), ks=(1,))
    assert report.recall == {1: 1.0} and report.mean_average_precision == 1.0


def test_the_only_relevant_item_may_be_the_one_left_out():
    gallery, labels = angles(0, 90), torch.tensor([3, 4])
    report = evaluate_retrieval(angles(0, 0), torch.tensor([3, 3]), gallery, labels, exclude=torch.tensor([0, -1]))
    assert report.num_skipped == 1
    assert report.average_precision.isnan().tolist() == [True, False]


def test_summary_is_flat_and_in_percent():
    labels = torch.tensor([0, 0, 1, 2])
    report = evaluate_retrieval(angles(0, 10, 12, 180), labels, ks=(1, 2))
    # Row 0 finds row 1 first; row 1 finds rows 2 and 0 in this order; rows 2 and 3 have no fellow.
    assert summary(report, "fine") == pytest.approx(
        {"fine_r1": 50.0, "fine_r2": 100.0, "fine_map": 75.0, "fine_skipped": 50.0}
    )
    without = evaluate_retrieval(angles(0, 10, 12, 180), labels, ks=(1, 2), average_precision=False)
    assert list(summary(without, "coarse")) == ["coarse_r1", "coarse_r2", "coarse_skipped"]


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(query_labels=torch.zeros(4, dtype=torch.long)), ["query_labels", "(4,)", "(3, 2)"]),
        (dict(gallery_labels=torch.zeros(4, dtype=torch.long)), ["gallery_labels", "(4,)", "(5, 2)"]),
        (dict(gallery_labels=torch.zeros(5)), ["gallery_labels", "float32", "integers"]),
        (dict(query=torch.ones(3)), ["query", "(3,)"]),
        (dict(query=torch.ones(3, 2, dtype=torch.long)), ["query", "int64"]),
        (dict(gallery=torch.ones(0, 2)), ["gallery", "(0, 2)"]),
        (dict(gallery=torch.ones(5, 3)), ["gallery", "(5, 3)", "(3, 2)"]),
        (dict(query=torch.tensor([[1.0, 0], [0, 0], [1, 1]])), ["row 1 of query", "zero length"]),
        (dict(gallery=angles(1, 2, 3, 4, 5) * torch.tensor([1, 1, 1, math.nan, 1])[:, None]), ["row 3 of gallery"]),
        (dict(query=torch.tensor([[1.0, math.inf], [1, 0], [1, 1]])), ["row 0 of query", "finite"]),
        (dict(exclude=torch.tensor([0, 1, 5])), ["exclude", "5", "(5, 2)"]),
        (dict(exclude=torch.tensor([0, 1, -2])), ["exclude", "-2"]),
        (dict(exclude=torch.tensor([0, 1])), ["exclude", "(2,)", "(3, 2)"]),
        (dict(ks=(0, 1)), ["ks", "0"]),
        (dict(ks=()), ["ks"]),
        (dict(ks=(1.5,)), ["ks", "1.5"]),
        (dict(gallery=None), ["gallery_labels", "without"]),
        (dict(gallery_labels=None), ["gallery_labels", "gallery"]),
    ],
)
def test_input_that_does_not_fit(change, words):
    arguments = dict(
        query=angles(0, 1, 2),
        query_labels=torch.zeros(3, dtype=torch.long),
        gallery=angles(0, 1, 2, 3, 4),
        gallery_labels=torch.zeros(5, dtype=torch.long),
    )
    with pytest.raises(ValueError) as error:
        evaluate_retrieval(**(arguments | change))
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("k", [0, 2.0, True])
def test_nearest_wants_a_number_of_neighbours(k):
    with pytest.raises(ValueError, match="k is"):
        nearest(angles(0), angles(1), k)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("chunk_bytes", [1, 64 * 100 * 7, 2**28])
def test_the_cosine_ranking_scores_as_evaluate_retrieval_does(ties, chunk_bytes):
    draw = torch.Generator().manual_seed(6)
    query, gallery = torch.randn(30, 6, generator=draw), torch.randn(100, 6, generator=draw)
    if ties:
        query, gallery = query.sign() + 0.25, gallery.sign() + 0.25
    query_labels, gallery_labels = torch.randint(9, (30,), generator=draw), torch.randint(8, (100,), generator=draw)
    query_labels[3] = 8  # not in the gallery: skipped
    expected = evaluate_retrieval(query, query_labels, gallery, gallery_labels, ks=(1, 3, 500))
    report = evaluate_ranking(cosine_ranking(query, gallery), query_labels, gallery_labels, (1, 3, 500), chunk_bytes)
    assert (report.recall, report.recall_zero_counted) == (expected.recall, expected.recall_zero_counted)
    assert (report.num_queries, report.num_skipped) == (30, expected.num_skipped) and report.num_skipped > 0
    assert report.mean_average_precision == expected.mean_average_precision
    torch.testing.assert_close(report.average_precision, expected.average_precision, rtol=0, atol=0, equal_nan=True)


def test_any_ranking_is_scored_by_its_order_alone():
    """Relevant items at ranks 2 and 4 of 4, the last one however far away: AP = (1/2 + 2/4) / 2."""
    ranking = torch.tensor([[3, 0, 2, 1], [1, 0, 3, 2]])
    report = evaluate_ranking(ranking, torch.tensor([5, 9]), torch.tensor([5, 5, 6, 6]), ks=(1, 2, 4))
    assert report.average_precision[0] == 0.5 and report.average_precision[1].isnan()
    assert report.recall == {1: 0.0, 2: 1.0, 4: 1.0} and report.recall_zero_counted == {1: 0.0, 2: 0.5, 4: 0.5}
    assert (report.num_queries, report.num_skipped) == (2, 1)


def test_a_ranking_of_another_integer_type_or_layout():
    ranking = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(i)) for i in range(5)])
    query_labels, gallery_labels = torch.arange(5) % 3, torch.arange(12) % 3
    expected = evaluate_ranking(ranking, query_labels, gallery_labels).average_precision
    for other in (ranking.int(), ranking.to(torch.uint8), ranking.T.contiguous().T):
        assert torch.equal(evaluate_ranking(other, query_labels, gallery_labels).average_precision, expected)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(ranking=torch.tensor([[0, 1, 2], [0, 2, 2]])), ["row 1 of ranking", "3"]),
        (dict(ranking=torch.tensor([[0, 1, 3], [0, 1, 2]])), ["row 0 of ranking", "3"]),
        (dict(ranking=torch.tensor([[0, 1, 2], [-1, 1, 2]])), ["row 1 of ranking"]),
        (dict(ranking=torch.tensor([[0, 1], [1, 0]])), ["gallery_labels", "(3,)", "(2, 2)", "every row"]),
        (dict(ranking=torch.tensor([0, 1, 2])), ["ranking", "(3,)"]),
        (dict(ranking=torch.zeros(0, 3, dtype=torch.long)), ["ranking", "(0, 3)"]),
        (dict(ranking=torch.tensor([[0.0, 1, 2], [0, 1, 2]])), ["ranking", "float32"]),
        (dict(query_labels=torch.zeros(3, dtype=torch.long)), ["query_labels", "(3,)", "(2, 3)"]),
        (dict(gallery_labels=torch.zeros(4, dtype=torch.long)), ["gallery_labels", "(4,)", "(2, 3)"]),
        (dict(gallery_labels=torch.zeros(3)), ["gallery_labels", "float32", "integers"]),
        (dict(ks=(0,)), ["ks", "0"]),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 2**28])
def test_ranking_that_does_not_fit(change, words, chunk_bytes):
    arguments = dict(
        ranking=torch.tensor([[0, 1, 2], [2, 1, 0]]),
        query_labels=torch.zeros(2, dtype=torch.long),
        gallery_labels=torch.zeros(3, dtype=torch.long),
    )
    with pytest.raises(ValueError) as error:
        evaluate_ranking(**(arguments | change), chunk_bytes=chunk_bytes)
    assert all(word in str(error.value) for word in words), error.value
