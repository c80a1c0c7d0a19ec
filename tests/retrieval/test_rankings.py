"""Rankings against plain loops: one score per pair, sorted by (-score, row)."""

import math

import pytest
import torch

from fglib.retrieval import conditional_ranking, cosine_ranking, evaluate_ranking, knn_logits, nearest, oracle_ranking
from fglib.retrieval.rankings import log_odds

Q, N, D, C = 13, 90, 8, 5
INF = math.inf


def angles(*degrees):
    """Unit vectors in the plane: their cosine is the cosine of the angle between them."""
    radians = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], 1).float()


def problem(seed=0):
    draw = torch.Generator().manual_seed(seed)
    query, gallery = torch.randn(Q, D, generator=draw), torch.randn(N, D, generator=draw)
    gallery_coarse = torch.randint(C, (N,), generator=draw)
    return query, gallery, gallery_coarse, torch.randn(Q, C, generator=draw)


def cosine(a, b):
    a, b = a.double().tolist(), b.double().tolist()
    return sum(x * y for x, y in zip(a, b)) / math.hypot(*a) / math.hypot(*b)


def log_odds_by_loops(logits):
    """s_y - log(sum over the others of exp s), shifted so that the largest exponential is 1."""
    odds = []
    for y, own in enumerate(logits):
        others = [s for z, s in enumerate(logits) if z != y and s > -INF]
        if not others:
            odds.append(INF)
        elif own == -INF:
            odds.append(-INF)
        else:
            odds.append(own - max(others) - math.log(math.fsum(math.exp(s - max(others)) for s in others)))
    return odds


def ranking_by_loops(query, gallery, bonus):
    """bonus(i, j) is what item j gets for query i besides the cosine; in order of (-(cosine + bonus), row)."""
    return [
        sorted(range(len(gallery)), key=lambda j: (-(cosine(q, gallery[j]) + bonus(i, j)), j))
        for i, q in enumerate(query)
    ]


def within(ranking, gallery_coarse, y):
    """The order of the items of class y alone, for each query."""
    return [[j for j in row if gallery_coarse[j] == y] for row in ranking.tolist()]


def test_cosine_ranking():
    query, gallery, _, _ = problem()
    ranking = cosine_ranking(query, gallery)
    assert ranking.dtype == torch.int64 and ranking.is_contiguous()
    assert ranking.tolist() == ranking_by_loops(query, gallery, lambda i, j: 0.0)
    assert torch.equal(ranking, nearest(query, gallery, N))


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_conditional_ranking_is_eq_5(scale):
    query, gallery, gallery_coarse, logits = problem()
    odds = [log_odds_by_loops(row) for row in (scale * logits).double().tolist()]
    expected = ranking_by_loops(query, gallery, lambda i, j: odds[i][gallery_coarse[j]])
    ranking = conditional_ranking(query, gallery, gallery_coarse, scale * logits)
    assert ranking.dtype == torch.int64
    assert ranking.tolist() == expected


def test_eq_5_in_probabilities():
    """The formula as printed, where no probability is near 0 or 1."""
    query, gallery, gallery_coarse, logits = problem(1)
    p = logits.double().softmax(1)
    odds = (p / (1 - p)).log()
    expected = ranking_by_loops(query, gallery, lambda i, j: float(odds[i, gallery_coarse[j]]))
    assert conditional_ranking(query, gallery, gallery_coarse, logits).tolist() == expected


def test_oracle_ranking_is_two_blocks_in_order_of_cosine():
    query, gallery, gallery_coarse, _ = problem()
    query_coarse = torch.arange(Q) % C
    query_coarse[5] = 77  # a class that the gallery lacks: one block, by cosine
    expected = ranking_by_loops(query, gallery, lambda i, j: 10.0 * (gallery_coarse[j] == query_coarse[i]))
    ranking = oracle_ranking(query, gallery, gallery_coarse, query_coarse)
    assert ranking.dtype == torch.int64 and ranking.tolist() == expected
    assert torch.equal(ranking[5], cosine_ranking(query, gallery)[5])


def test_the_own_class_comes_first_from_the_far_side():
    """The widest gap there is: the own class at cosine -1, the other at +1."""
    gallery, coarse = angles(0, 180, 0, 180), torch.tensor([8, -3, 8, -3])  # any integer names a class
    assert oracle_ranking(angles(0), gallery, coarse, torch.tensor([-3])).tolist() == [[1, 3, 0, 2]]


@pytest.mark.parametrize("row", [[3.0, -1, 0.5, 2], [50.0, 0, -50, 3], [1e4, -1e4, 0, 5], [-1e4, -1e4, 1e4, 1e4]])
def test_log_odds_against_loops(row):
    """Also where p or 1 - p is 0 in float64, and log(p / (1 - p)) therefore infinite."""
    odds = log_odds(torch.tensor([row], dtype=torch.float64))
    assert odds.isfinite().all()
    assert odds[0].tolist() == pytest.approx(log_odds_by_loops(row), rel=1e-14, abs=1e-14)


def test_log_odds_of_two_classes_are_the_difference_of_the_logits():
    gap = torch.logspace(-12, 3, 100, dtype=torch.float64)
    odds = log_odds(torch.stack([gap, torch.zeros_like(gap)], 1))
    torch.testing.assert_close(odds[:, 0], gap, rtol=1e-10, atol=1e-15)
    torch.testing.assert_close(odds[:, 1], -gap, rtol=1e-10, atol=1e-15)


def test_log_odds_at_the_limits():
    for row in ([2.5], [-INF, 2.0, -INF], [-INF, 1.0, 1.0], [0.0, 0.0, -INF]):
        assert log_odds(torch.tensor([row], dtype=torch.float64))[0].tolist() == pytest.approx(log_odds_by_loops(row))


@pytest.mark.parametrize("size", [1e4, 1e6, 1e30, INF])
def test_huge_logits_leave_the_cosines_their_order(size):
    """In float32 a cosine added to 10,000 keeps three digits; added to infinity, none."""
    draw = torch.Generator().manual_seed(2)
    query, gallery = torch.randn(4, D, generator=draw), torch.randn(2000, D, generator=draw)
    gallery_coarse = torch.arange(2000) % 3
    logits = torch.tensor([[size if size < INF else 0.0, -size, -size]]).repeat(4, 1)
    ranking = conditional_ranking(query, gallery, gallery_coarse, logits)
    plain = cosine_ranking(query, gallery)
    assert within(ranking, gallery_coarse, 0) == within(plain, gallery_coarse, 0)
    assert (gallery_coarse[ranking[:, :667]] == 0).all()
    rest = [[j for j in row if gallery_coarse[j] > 0] for row in plain.tolist()]  # two classes of equal logits
    assert ranking[:, 667:].tolist() == rest


@pytest.mark.parametrize("number_of_classes", [1, 2, 3, 20, 1000])
@pytest.mark.parametrize("logit", [0.0, -1e4, 0.1])
def test_equal_logits_change_nothing_not_even_ties(number_of_classes, logit):
    """Copies of one item in different classes stay in order of row: equal logits give equal log-odds bit for bit."""
    draw = torch.Generator().manual_seed(3)
    query, originals = torch.randn(Q, D, generator=draw), torch.randn(10, D, generator=draw)
    gallery = originals[torch.randint(10, (N,), generator=draw)]
    gallery_coarse = torch.randint(number_of_classes, (N,), generator=draw)
    logits = torch.full((Q, number_of_classes), logit)
    ranking = conditional_ranking(query, gallery, gallery_coarse, logits)
    assert torch.equal(ranking, cosine_ranking(query, gallery))


def test_equal_scores_go_by_row_across_classes():
    """Cosine 1 with log-odds -1/2 and cosine 0 with log-odds 1/2 are the same score."""
    near, far = [1.0, 0.0], [0.0, 1.0]
    gallery = torch.tensor([far, near, near, far])
    coarse = torch.tensor([1, 0, 0, 1])
    query, logits = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.5]])
    assert conditional_ranking(query, gallery, coarse, logits).tolist() == [[0, 1, 2, 3]]
    assert conditional_ranking(query, gallery, coarse, logits + torch.tensor([0.01, 0])).tolist() == [[1, 2, 0, 3]]
    assert cosine_ranking(query, gallery).tolist() == [[1, 2, 0, 3]]
    assert oracle_ranking(query, gallery, coarse, torch.tensor([1])).tolist() == [[0, 3, 1, 2]]


def test_the_digits_of_the_logits_count():
    """Far from zero or near to each other, classes keep their order: items alike in all else follow it."""
    gallery, coarse = angles(10, 10, 10), torch.tensor([2, 1, 0])
    for step in (1e4, 1e-9):
        logits = torch.tensor([[1.0, 1 - step, 1 - 2 * step]], dtype=torch.float64)
        assert conditional_ranking(angles(0), gallery, coarse, logits).tolist() == [[2, 1, 0]]


def test_classes_that_are_ruled_out_come_last_by_cosine():
    gallery = angles(0, 10, 20, 30, 40, 50)
    coarse = torch.tensor([0, 1, 2, 0, 1, 2])
    ranking = conditional_ranking(angles(0), gallery, coarse, torch.tensor([[-INF, 0.0, -INF]]))
    assert ranking.tolist() == [[1, 4, 0, 2, 3, 5]]


def test_perfect_logits_are_the_oracle_and_worse_ones_are_not_better():
    draw = torch.Generator().manual_seed(4)
    fine, query_fine = torch.arange(200) % 20, torch.arange(50) % 20
    centers = torch.randn(20, D, generator=draw)
    gallery = centers[fine] + 1.5 * torch.randn(200, D, generator=draw)
    query = centers[query_fine] + 1.5 * torch.randn(50, D, generator=draw)
    coarse, query_coarse = fine // 4, query_fine // 4
    oracle = oracle_ranking(query, gallery, coarse, query_coarse)
    one_hot = torch.nn.functional.one_hot(query_coarse, 5)
    for certain in (1e4 * one_hot.float(), one_hot.double().log()):
        assert torch.equal(conditional_ranking(query, gallery, coarse, certain), oracle)
    noisy = 2.0 * one_hot + torch.randn(50, 5, generator=draw)
    rankings = [oracle, conditional_ranking(query, gallery, coarse, noisy), cosine_ranking(query, gallery)]
    scores = [evaluate_ranking(ranking, query_fine, fine).mean_average_precision for ranking in rankings]
    assert scores[0] > scores[1] > scores[2]


def test_logits_of_the_neighbours_condition_a_ranking():
    """The log-odds of a kNN classifier: logsumexp over the class minus logsumexp over the rest."""
    query, gallery, gallery_coarse, _ = problem(5)
    similarity = [[cosine(q, g) / 0.05 for g in gallery] for q in query]

    def bonus(i, j):
        own = [math.exp(s) for s, y in zip(similarity[i], gallery_coarse) if y == gallery_coarse[j]]
        rest = [math.exp(s) for s, y in zip(similarity[i], gallery_coarse) if y != gallery_coarse[j]]
        return math.log(sum(own) / sum(rest))

    logits = knn_logits(query, gallery, gallery_coarse, num_classes=C)
    ranking = conditional_ranking(query, gallery, gallery_coarse, logits)
    assert ranking.tolist() == ranking_by_loops(query, gallery, bonus)


@pytest.mark.parametrize("chunk_bytes", [1, 64 * 128 * 3, 2**28])
def test_chunks_do_not_matter(chunk_bytes):
    query, gallery, gallery_coarse, logits = problem(6)
    query, gallery = query.sign() + 0.25, gallery.sign() + 0.25  # plenty of ties
    query_coarse = logits.argmax(1)
    for ranked in (
        lambda **options: cosine_ranking(query, gallery, **options),
        lambda **options: conditional_ranking(query, gallery, gallery_coarse, logits, **options),
        lambda **options: oracle_ranking(query, gallery, gallery_coarse, query_coarse, **options),
    ):
        assert torch.equal(ranked(chunk_bytes=chunk_bytes), ranked())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_float_types(dtype):
    query, gallery = angles(5, 100).to(dtype).requires_grad_(), angles(0, 40, 90, 130, 180).to(dtype)
    coarse, logits = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([[0.0, 8.0], [8.0, 0.0]]).to(dtype)
    assert cosine_ranking(query, gallery).tolist() == [[0, 1, 2, 3, 4], [2, 3, 1, 4, 0]]
    assert conditional_ranking(query, gallery, coarse, logits.requires_grad_()).tolist() == [
        [1, 3, 4, 0, 2],
        [2, 0, 3, 1, 4],
    ]


def test_inputs_that_are_not_contiguous_or_of_other_integer_types_or_under_autocast():
    query, gallery, coarse, logits = problem(7)
    query_coarse = torch.arange(Q) % C
    conditional = conditional_ranking(query, gallery, coarse, logits)
    oracle = oracle_ranking(query, gallery, coarse, query_coarse)
    before = [t.clone() for t in (query, gallery, coarse, logits)]

    def strided(values):
        return values.T.contiguous().T if values.ndim == 2 else values.repeat_interleave(2)[::2]

    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(
            conditional_ranking(*map(strided, (query, gallery, coarse.to(torch.uint8), logits))), conditional
        )
        assert torch.equal(oracle_ranking(*map(strided, (query, gallery, coarse.int(), query_coarse))), oracle)
    assert all(torch.equal(a, b) for a, b in zip(before, (query, gallery, coarse, logits)))


def test_lengths_of_embeddings_do_not_matter():
    query, gallery, coarse, logits = problem(8)
    scale = 10.0 ** torch.linspace(-30, 30, N)[:, None]
    assert torch.equal(
        conditional_ranking(query, gallery * scale, coarse, logits), conditional_ranking(query, gallery, coarse, logits)
    )


def test_one_query_and_one_item():
    assert conditional_ranking(angles(3), angles(200), torch.tensor([0]), torch.tensor([[7.0]])).tolist() == [[0]]
    assert oracle_ranking(angles(3), angles(200), torch.tensor([0]), torch.tensor([1])).tolist() == [[0]]


INVALID = [
    (dict(query=torch.ones(3)), ["query", "(3,)"]),
    (dict(gallery=torch.ones(4, 3)), ["gallery", "(4, 3)", "(2, 2)"]),
    (dict(query=torch.tensor([[1.0, 0], [0, 0]])), ["row 1 of query", "zero length"]),
    (dict(gallery_coarse=torch.zeros(3, dtype=torch.long)), ["gallery_coarse", "(3,)", "(4, 2)"]),
    (dict(gallery_coarse=torch.zeros(4)), ["gallery_coarse", "float32", "integers"]),
]


def arguments():
    return dict(query=angles(0, 1), gallery=angles(0, 1, 2, 3), gallery_coarse=torch.tensor([0, 1, 2, 2]))


@pytest.mark.parametrize(
    "change, words",
    [
        *INVALID,
        (dict(gallery_coarse=torch.tensor([0, 1, 2, 3])), ["gallery_coarse", "(4,)", "3", "0 to 2"]),
        (dict(gallery_coarse=torch.tensor([0, 1, 2, -1])), ["gallery_coarse", "-1", "0 to 2"]),
        (dict(coarse_logits=torch.zeros(3, 3)), ["coarse_logits", "(3, 3)", "(2, 2)"]),
        (dict(coarse_logits=torch.zeros(2)), ["coarse_logits", "(2,)", "(2, 2)"]),
        (dict(coarse_logits=torch.zeros(2, 3, dtype=torch.long)), ["coarse_logits", "int64"]),
        (dict(coarse_logits=torch.tensor([[0.0, 0, 0], [0, math.nan, 0]])), ["row 1 of coarse_logits", "NaN"]),
        (dict(coarse_logits=torch.tensor([[-INF, -INF, -INF], [0, 0, 0]])), ["row 0 of coarse_logits", "-inf"]),
        (dict(coarse_logits=torch.tensor([[0.0, 0, 0], [0, INF, 0]])), ["row 1 of coarse_logits", "+inf"]),
    ],
)
def test_conditional_input_that_does_not_fit(change, words):
    with pytest.raises(ValueError) as error:
        conditional_ranking(**(arguments() | dict(coarse_logits=torch.zeros(2, 3)) | change))
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    "change, words",
    [
        *INVALID,
        (dict(query_coarse=torch.zeros(3, dtype=torch.long)), ["query_coarse", "(3,)", "(2, 2)"]),
        (dict(query_coarse=torch.zeros(2)), ["query_coarse", "float32"]),
        (dict(query_coarse=None), ["query_coarse", "missing"]),
    ],
)
def test_oracle_input_that_does_not_fit(change, words):
    with pytest.raises(ValueError) as error:
        oracle_ranking(**(arguments() | dict(query_coarse=torch.tensor([0, 1])) | change))
    assert all(word in str(error.value) for word in words), error.value
