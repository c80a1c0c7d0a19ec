"""Options that are not given are those of the papers; what is given reaches its place."""

import dataclasses
import inspect

import pytest
import torch
from tiny import CONFIG, dataset

from fglib.config import MethodConfig
from fglib.errors import ConfigError
from fglib.lab.run import start
from fglib.methods import METHODS, Batch
from fglib.methods import subtle as module

DEFAULTS = {
    "base_indi": {"lambda_i": 1.0, "instance_rate": 1.0, "instance_decay": None, "instance_start": "random"},
    "base_indi_eff": {"lambda_i": 1.0},
    "indi": {"instance_rate": 1.0, "instance_decay": None, "instance_start": "random"},
    "snca": {"dim": None, "temperature": 0.05, "renormalize": True, "momentum": 0.5},
    "grafit": {"knn_weight": 1.0, "instance_weight": 1.0, "tau": 0.996},
    "inst": {"tau": 0.996},
    "ce_inst": {"instance_weight": 1.0, "tau": 0.996},
    "clusterfit_plus": {"clusters": None},
    "transfer": {"classifier": "fc", "freeze": False},
    "bap": {
        "maps": 8,
        "center_weight": 1.0,
        "center_momentum": 0.05,
        "orthogonal": True,
        "overlap": None,
        "overlap_weight": 1.0,
    },
    "ws_dan": {"crop": 0.5, "drop": 0.5},
    "coarse2fine": {"upsampler": "learned", "width": 16, "inference": "average"},
    "upsampler": {"factor": 4, "width": 16},
    "gce": {"k": 15, "exact_k": False, "start_at": 0.0},
    "db": {"p_peak": 0.5, "p_patch": 0.5, "patch_size": 3, "alpha": 0.1},
    "db_smoothing": {"smoothing": 0.1},
    "db_maxent": {"weight": 1.0},
    "db_pc": {"weight": 1.0},
    "db_center": {"weight": 0.003, "momentum": 0.5},
    "db_lgm": {"margin": 0.1, "likelihood": 0.1},
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_the_papers(name):
    found = inspect.signature(METHODS[name]).parameters.values()
    assert {p.name: p.default for p in found if p.default is not inspect.Parameter.empty} == DEFAULTS[name]


LOSSES = {
    "gce": ("gradient_boosting_cross_entropy", {"k": 3, "exact_k": True}, (3, True)),
    "db_maxent": ("maximum_entropy_loss", {"weight": 0.6}, (0.6,)),
    "db_pc": ("pairwise_confusion_loss", {"weight": 0.7}, (0.7,)),
    "db_lgm": ("gaussian_mixture_loss", {"margin": 0.3, "likelihood": 0.2}, (0.3, 0.2)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_options_reach_the_loss_in_their_order(name, monkeypatch):
    """Two of them may weigh the same thing where scores are far apart, so their values alone do not tell."""
    loss, options, expected = LOSSES[name]
    seen = []
    monkeypatch.setattr(module, loss, lambda scores, labels, *rest: seen.append(rest) or scores.sum())
    data = dataset()
    method = start(dataclasses.replace(CONFIG, method=MethodConfig(name, options)), data)
    images = data.train.images[:4].float() / 255
    method.loss(Batch(images[None], data.train.labels("big")[:4], torch.arange(4)))
    assert seen == [expected]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("db_center", {"momentum": 0.0}),
        ("db_center", {"momentum": 1.0}),
        ("db_lgm", {"margin": 0.0, "likelihood": 0.0}),
        ("db_smoothing", {"smoothing": 0.0}),
        ("db_smoothing", {"smoothing": 1.0}),
        ("gce", {"k": 1, "start_at": 0.0}),
        ("gce", {"start_at": 1.0}),
        ("bap", {"maps": 1}),
        ("inst", {"tau": 0.0}),
        ("inst", {"tau": 1.0}),
        ("snca", {"dim": 1}),
        ("clusterfit_plus", {"clusters": 2}),
        ("clusterfit_plus", {"clusters": 25}),
    ],
)
def test_the_ends_of_the_ranges_are_allowed(name, options):
    start(dataclasses.replace(CONFIG, method=MethodConfig(name, options)), dataset())


@torch.no_grad()
@pytest.mark.parametrize("name", ["bap", "ws_dan"])
def test_an_image_is_located_by_the_mean_of_its_maps(name):
    torch.manual_seed(0)
    method = start(dataclasses.replace(CONFIG, method=MethodConfig(name, {"maps": 3})), dataset()).eval()
    images = dataset().test.images[:4].float() / 255
    maps = method.attend(images)[1]
    mean = torch.nn.functional.interpolate(maps.mean(1)[:, None], (16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(method.location_maps(images), mean[:, 0])
    assert (maps[:, 0] != maps.mean(1)).any()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("db_lgm", {"likelihood": -0.1}, "margin is 0.1 and likelihood -0.1"),
        ("db_lgm", {"margin": -0.1}, "margin is -0.1 and likelihood 0.1"),
        ("db_smoothing", {"smoothing": -0.1}, "smoothing is -0.1"),
        ("db_center", {"momentum": -0.1}, "momentum is -0.1"),
        ("ws_dan", {"crop": 0.0}, "crop is 0.0"),
        ("ws_dan", {"drop": 1.0}, "drop 1.0"),
        ("clusterfit_plus", {"clusters": 1}, "clusters is 1"),
    ],
)
def test_just_beyond_the_ends_nothing_is_allowed(name, options, message):
    with pytest.raises(ConfigError, match=message):
        start(dataclasses.replace(CONFIG, method=MethodConfig(name, options)), dataset())


@torch.no_grad()
@pytest.mark.parametrize("name", ["bap", "ws_dan", "coarse2fine"])
def test_images_are_retrieved_by_part_features_of_unit_length(name):
    method = start(dataclasses.replace(CONFIG, method=MethodConfig(name, {"maps": 3})), dataset()).eval()
    features = method.embed(dataset().test.images[:4].float() / 255)
    assert features.shape == (4, 3 * method.trunk.dim)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(4))
