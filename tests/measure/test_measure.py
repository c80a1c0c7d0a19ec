"""Measures: what a record holds, restated slowly on a tiny trained method."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from tiny import CONFIG, dataset, ready

from fglib.config import MethodConfig
from fglib.data.images import DataSet
from fglib.data.made.patches import patches
from fglib.errors import ConfigError
from fglib.inference import embed
from fglib.lab import run
from fglib.lab.plan import plans
from fglib.measure import MEASURES, NEEDS, Trained, check_measures, measure
from fglib.train import fit


@pytest.fixture(scope="module")
def trained():
    method, train, config = ready("base_indi", epochs=2)
    fit(method, train, config)
    return Trained(method, dataset(), config)


def only(trained, *names):
    return measure(dataclasses.replace(trained, config=dataclasses.replace(trained.config, measure=names)))


def test_embed_is_the_evaluation_mode_and_leaves_the_mode_alone(trained):
    trained.method.train()
    x = embed(trained.method, trained.data.test)
    assert trained.method.training
    trained.method.eval()
    with torch.no_grad():
        expected = trained.method.embed(trained.data.test.images.float() / 255)
    assert torch.allclose(x, expected, atol=1e-6) and x.shape == (25, trained.method.trunk.dim)


def test_accuracy_counts_hits_among_the_best(trained):
    metrics, _ = only(trained, "accuracy")
    trained.method.eval()
    scores = trained.method.logits(trained.data.test.images.float() / 255)
    hits = [int(s.argmax()) == int(y) for s, y in zip(scores, trained.data.test.labels("big"))]
    assert metrics == {"coarse_top1": pytest.approx(100 * np.mean(hits)), "coarse_top5": 100.0}


def test_retrieval_is_at_both_levels_against_the_other_test_images(trained):
    metrics, _ = only(trained, "retrieval")
    x = torch.nn.functional.normalize(trained.test_features, dim=1)
    similarity = x @ x.T
    for kind, level in (("coarse", "big"), ("fine", "small")):
        y = trained.data.test.labels(level)
        hits = []
        for i in range(len(x)):
            if (y == y[i]).sum() == 1:
                continue  # nothing to find: skipped, and counted
            order = sorted((j for j in range(len(x)) if j != i), key=lambda j: (-float(similarity[i, j]), j))
            hits.append(bool(y[order[0]] == y[i]))
        assert metrics[f"{kind}_r1"] == pytest.approx(100 * np.mean(hits))
        assert metrics[f"{kind}_skipped"] == pytest.approx(100 * (1 - len(hits) / len(x)))


def test_gallery_pictures_belong_to_their_labels(trained):
    _, arrays = only(trained, "gallery")
    assert arrays["gallery_queries"].shape == (8, 16, 16, 3)
    assert arrays["gallery_neighbours"].shape == (8, 6, 16, 16, 3) and arrays["gallery_correct"].shape == (8, 6)
    test = trained.data.test
    pictures = {p.permute(1, 2, 0).numpy().tobytes(): int(y) for p, y in zip(test.images, test.labels("small"))}
    for q in range(8):
        own = pictures[arrays["gallery_queries"][q].tobytes()]
        assert test.hierarchy.classes["small"][own] == arrays["gallery_names"][q]
        for k in range(6):
            label = pictures[np.ascontiguousarray(arrays["gallery_neighbours"][q, k]).tobytes()]
            assert (label == own) == arrays["gallery_correct"][q, k]


def test_large_pictures_becomethumbnails():
    from fglib.measure.basic import thumbnails

    image = torch.arange(100, dtype=torch.uint8).repeat_interleave(3 * 100).view(1, 100, 3, 100).permute(0, 2, 1, 3)
    small = thumbnails(image)
    assert small.shape == (1, 33, 33, 3) and small[0, 0, 0].tolist() == [1, 1, 1]


def test_embedding_has_a_point_per_image_with_its_labels(trained):
    _, arrays = only(trained, "embedding")
    assert arrays["embedding_xy"].shape == (25, 2)
    assert arrays["embedding_fine"].tolist() == trained.data.test.labels("small").tolist()


def test_attention_and_attribution_measure_every_mask():
    data = DataSet("patches", *patches(16, images=24, big=3, small=4, big_size=6, small_size=4))
    from fglib.lab.run import start, training_view

    config = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, epochs=1))
    for name, heads in (("base", 1), ("base_indi", 2), ("fine", 1)):
        use = dataclasses.replace(config, method=dataclasses.replace(config.method, name=name), use_fine=name == "fine")
        method = start(use, data)
        fit(method, training_view(use, data), use)
        metrics, arrays = only(Trained(method, data, use), "attention", "attribution")
        assert {f"{k}_{m}" for k in ("attention", "ig", "gradcam") for m in ("big", "small")} == set(metrics)
        assert arrays["attention_maps"].shape == (6, 8, 8) and arrays["attention_images"].shape == (6, 3, 16, 16)
        assert arrays["ig_maps"].shape == arrays["gradcam_maps"].shape == (6, 16, 16)
        assert sum(hasattr(method, h) for h in ("super_head", "fine_head", "instance_head")) == heads


def test_bounds_are_for_both_heads_on_nested_levels(trained):
    metrics, _ = only(trained, "bounds")
    assert metrics["theorem1_log10_bound"] <= metrics["theorem1_log10_measured"] <= 0
    assert metrics["theorem2_log10_bound"] <= metrics["theorem2_log10_measured"]
    base, train, config = ready("base")
    assert only(Trained(base, dataset(), config), "bounds") == ({}, {})


def changed(name, **changes):
    """The configuration of a method with other measures or settings of training."""
    train = dataclasses.replace(CONFIG.train, errors_every=changes.pop("errors_every", 0))
    return dataclasses.replace(CONFIG, method=MethodConfig(name), train=train, **changes)


def test_an_unknown_measure_offers_the_nearest():
    with pytest.raises(ConfigError, match="unknown measure 'retreival'; did you mean 'retrieval'"):
        check_measures(changed("base", measure=("accuracy", "retreival")))


@pytest.mark.parametrize(
    ("method", "measure", "member"),
    [
        ("clusterfit_plus", "recognition", "logits"),
        ("indi", "classification_error", "logits"),
        ("snca", "crops", "logits"),
        ("grafit", "confusions", "logits"),
        ("base", "localization", "location_maps"),
        ("bap", "class_maps", "class_maps"),
        ("plain", "upsampling", "targets"),
    ],
)
def test_a_measure_that_a_method_cannot_have_is_refused(method, measure, member):
    with pytest.raises(
        ConfigError, match=f"measure '{measure}', which needs `{member}`, and method '{method}' has none"
    ):
        check_measures(changed(method, measure=(measure,)))


def test_errors_while_training_need_a_classifier():
    check_measures(changed("base", errors_every=1))
    check_measures(changed("clusterfit_plus"))
    with pytest.raises(
        ConfigError, match="errors_every wants the measure 'classification_error', which needs `logits`"
    ):
        check_measures(changed("clusterfit_plus", errors_every=1))


def test_a_run_whose_measures_cannot_be_is_refused_before_its_data_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "load_data", lambda *args: pytest.fail("read"))
    (plan,) = plans("grafit_omniglot", "smoke", variants=["clusterfit_plus"], overrides={"train": {"errors_every": 1}})
    with pytest.raises(ConfigError, match=r"train\.errors_every"):
        run.train_one(plan, device="cpu", data_dir=str(tmp_path))


def test_what_measures_need_is_what_they_use():
    for name, members in NEEDS.items():
        text = inspect.getsource(inspect.getmodule(MEASURES[name])).replace("trained.test_scores", "method.logits")
        assert all(f"method.{member}" in text for member in members)
