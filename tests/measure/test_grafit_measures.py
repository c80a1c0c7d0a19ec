"""What Grafit's records hold, restated slowly on a tiny trained method."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from tiny import dataset, ready

from fglib.data.images import DataSet
from fglib.measure import Trained, measure
from fglib.measure.grafit import RANKINGS, expected_calibration_error
from fglib.train import fit


@pytest.fixture(scope="module", params=["baseline", "snca_plus"])
def trained(request):
    method, train, config = ready(request.param, epochs=2)
    fit(method, train, config)
    return Trained(method, dataset(), config)


def only(trained, *names, **features):
    """Some measures alone, of features in float64: rounded to float32, similar images tie and change places."""
    other = dataclasses.replace(trained, config=dataclasses.replace(trained.config, measure=names))
    exact = {name: getattr(trained, name).double() for name in ("train_features", "test_features")}
    vars(other).update(exact | features)  # where the class keeps them once they are computed
    return measure(other)


def unit(x):
    return torch.nn.functional.normalize(x.double(), dim=1)


def cosines(trained):
    return unit(trained.test_features) @ unit(trained.train_features).T


def knn_top1(cosine, labels, truth, k, temperature=0.05):
    """Eq. 6, query by query."""
    hits = 0
    for row, y in zip(cosine.tolist(), truth.tolist()):
        nearest = sorted(range(len(row)), key=lambda j: (-row[j], j))[:k]
        votes: dict = {}
        for j in nearest:
            votes[int(labels[j])] = votes.get(int(labels[j]), 0.0) + math.exp(row[j] / temperature)
        hits += max(votes, key=votes.get) == y
    return 100 * hits / len(truth)


def average_precision(order, relevant):
    found, total = 0, 0.0
    for rank, j in enumerate(order, start=1):
        if relevant[j]:
            found += 1
            total += found / rank
    return total / found if found else math.nan


def test_knn_classifies_test_images_by_the_training_images(trained):
    metrics, arrays = only(trained, "knn")
    data, names = trained.data, trained.config.data
    for kind, level in (("coarse", names.coarse), ("fine", names.fine)):
        slow = knn_top1(cosines(trained), data.train.labels(level), data.test.labels(level), metrics["knn_k"])
        assert metrics[f"{kind}_knn"] == pytest.approx(slow)
    by_k = dict(zip(arrays["knn_ks"].tolist(), arrays["knn_fine_by_k"].tolist()))
    assert by_k[5] == pytest.approx(
        knn_top1(cosines(trained), data.train.labels(names.fine), data.test.labels(names.fine), 5)
    )


def test_fine_labels_and_test_images_do_not_choose_k(trained):
    """Other fine labels and other test labels change what is measured, never the k it is measured with."""
    chosen = only(trained, "knn")[0]["knn_k"]
    fine = trained.config.data.fine

    def scrambled(images):
        other = images.targets[fine].flip(0)
        return dataclasses.replace(images, targets={**images.targets, fine: other})

    test = scrambled(trained.data.test)
    coarse = trained.config.data.coarse
    test = dataclasses.replace(test, targets={**test.targets, coarse: test.targets[coarse].flip(0)})
    data = DataSet("scrambled", scrambled(trained.data.train), test)
    other = Trained(trained.method, data, trained.config)
    assert only(other, "knn")[0]["knn_k"] == chosen


def test_ranking_by_cosine_by_condition_and_by_oracle(trained):
    metrics, arrays = only(trained, "ranking")
    names, data = trained.config.data, trained.data
    cosine = cosines(trained)
    coarse, fine = data.train.labels(names.coarse), data.train.labels(names.fine)
    if hasattr(trained.method, "classifier"):
        with torch.no_grad():
            logits = trained.method.eval().logits(data.test.images.float() / 255).double()
    else:  # the kNN classifier over the whole collection
        logits = torch.stack(
            [torch.logsumexp(cosine[:, coarse == c] / 0.05, 1) for c in range(int(coarse.max()) + 1)], 1
        )
    probability = logits.softmax(1)
    slow = {name: [] for name in RANKINGS}
    for q in range(len(cosine)):
        relevant = (fine == data.test.labels(names.fine)[q]).tolist()
        own = int(data.test.labels(names.coarse)[q])
        for name in RANKINGS:
            score = []
            for j in range(len(coarse)):
                s, c = float(cosine[q, j]), int(coarse[j])
                if name == "cond":
                    rest = [float(x) for i, x in enumerate(logits[q]) if i != c]
                    top = max(rest)
                    s += float(logits[q, c]) - (top + math.log(sum(math.exp(x - top) for x in rest)))
                if name == "oracle":
                    s += 10 * (c == own)
                score.append(s)
            order = sorted(range(len(score)), key=lambda j: (-score[j], j))
            slow[name].append(average_precision(order, relevant))
    for name in RANKINGS:
        assert metrics[f"{name}_map"] == pytest.approx(100 * np.nanmean(slow[name]), abs=0.5)
        np.testing.assert_allclose(arrays[f"ap_{name}"].astype(float), slow[name], atol=2e-2)
    truth = data.test.labels(names.coarse)
    assert metrics["conditioner_top1"] == pytest.approx(100 * float((probability.argmax(1) == truth).double().mean()))


def test_pictures_are_of_the_queries_that_conditioning_moved_most(trained):
    _, arrays = only(trained, "ranking")
    gain = arrays["moved_gain"]
    everything = 100 * (arrays["ap_cond"].astype(float) - arrays["ap_cos"].astype(float))
    assert gain[0] == pytest.approx(np.nanmax(everything), abs=0.2)
    assert gain[-1] == pytest.approx(np.nanmin(everything), abs=0.2)
    assert (np.diff(gain) <= 0).all()
    assert arrays["moved_cos"].shape[:2] == arrays["moved_cos_correct"].shape == (6, 6)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    confidence = torch.tensor([0.95, 0.95, 0.55, 0.55, 1.0])
    right = torch.tensor([True, False, True, True, True])
    # bin 9: three with mean confidence 2.9 / 3 and accuracy 2 / 3; bin 5: two with 0.55 and 1
    slow = (abs(2.9 / 3 - 2 / 3) * 3 + abs(0.55 - 1) * 2) / 5
    assert expected_calibration_error(confidence, right) == pytest.approx(slow, abs=1e-6)
    assert expected_calibration_error(torch.ones(4), torch.ones(4, dtype=torch.bool)) == 0


def test_trunk_is_measured_below_the_projector(trained):
    metrics, _ = only(trained, "trunk", "knn", "ranking")
    if hasattr(trained.method, "projector"):
        collection, query = trained.trunk_features
        assert collection.shape[1] == trained.method.trunk.dim != trained.train_features.shape[1]
        cosine = unit(query) @ unit(collection).T
        fine = trained.config.data.fine
        slow = [
            average_precision(sorted(range(len(row)), key=lambda j: (-row[j], j)), relevant)
            for row, relevant in zip(
                cosine.tolist(),
                (trained.data.test.labels(fine)[:, None] == trained.data.train.labels(fine)).tolist(),
            )
        ]
        assert metrics["trunk_map"] == pytest.approx(100 * np.nanmean(slow), abs=0.5)
    else:
        assert metrics["trunk_map"] == pytest.approx(metrics["cos_map"])
        assert metrics["trunk_knn"] == metrics["fine_knn"]


def test_levels_are_all_measured_with_the_k_of_the_trained_one(trained):
    metrics, _ = only(trained, "levels", "knn", "ranking")
    names = trained.config.data
    assert metrics[f"knn_{names.fine}"] == metrics["fine_knn"]
    assert metrics[f"knn_{names.coarse}"] == metrics["coarse_knn"]
    assert metrics[f"map_{names.fine}"] == pytest.approx(metrics["cos_map"])
    assert {k.split("_")[1] for k in metrics if k.startswith("map_")} == set(trained.data.hierarchy.levels)


def test_separation_is_silhouette_and_purity(trained):
    metrics, _ = only(trained, "separation")
    x, fine = unit(trained.test_features), trained.test_labels("fine")
    distance = 1 - x @ x.T
    values, pure = [], []
    for i in range(len(x)):
        own = [j for j in range(len(x)) if j != i and fine[j] == fine[i]]
        near = sorted((j for j in range(len(x)) if j != i), key=lambda j: (float(distance[i, j]), j))[:10]
        pure += [bool(fine[j] == fine[i]) for j in near]
        if not own:
            values.append(0.0)
            continue
        a = float(distance[i, own].mean())
        b = min(float(distance[i, fine == c].mean()) for c in fine.unique() if c != fine[i])
        values.append((b - a) / max(a, b))
    assert metrics["fine_silhouette"] == pytest.approx(np.mean(values), abs=1e-4)
    assert metrics["fine_purity"] == pytest.approx(100 * np.mean(pure))


def test_silhouettes_are_computed_in_float64(trained):
    """Of vectors that lie close together, whose cosines are all 1 in float32."""
    x = 1 + 1e-4 * torch.randn(len(trained.data.test), 8, generator=torch.Generator().manual_seed(0))
    found, exact = (only(trained, "separation", test_features=y)[0]["fine_silhouette"] for y in (x, x.double()))
    assert found == pytest.approx(exact, abs=1e-6) and abs(exact) > 1e-3
