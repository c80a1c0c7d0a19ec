"""Transfer: the trunk of another run under a new classifier, and how a run names the one that it starts from."""

import dataclasses
import json

import pytest
import torch
import yaml
from tiny import CONFIG, dataset
from torch import nn

from fglib import lab
from fglib.checkpoint import load_checkpoint
from fglib.config import MethodConfig, ModelConfig
from fglib.data.hierarchy import ROOT
from fglib.errors import ConfigError
from fglib.inference import apply
from fglib.lab.run import load_data, restore, start, train_one, training_view
from fglib.models import build_trunk
from fglib.train import fit


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def pretrained():
    """A trunk with weights and statistics of its own."""
    torch.manual_seed(5)
    trunk = build_trunk(CONFIG.model)
    trunk(torch.rand(8, 3, 16, 16))
    return trunk


def prepared(trunk, **options):
    """(method, training view, configuration) for transfer to the fine classes."""
    names = dataclasses.replace(CONFIG.data, coarse="small")
    config = dataclasses.replace(CONFIG, method=MethodConfig("transfer", options), data=names)
    data = dataset()
    return start(config, data, trunk), training_view(config, data), config


# the method


@pytest.mark.parametrize("freeze", [False, True])
def test_the_trunk_starts_as_the_pretrained_one_and_shares_no_memory_with_it(freeze):
    trunk = pretrained()
    kept = state(trunk)
    method, train, config = prepared(trunk, freeze=freeze)
    assert same(state(method.trunk), kept)
    fit(method, train, config)
    assert same(state(trunk), kept)


@pytest.mark.parametrize("classifier", ["fc", "mlp"])
def test_a_probe_changes_the_classifier_and_no_bit_of_the_trunk(classifier):
    trunk = pretrained()
    method, train, config = prepared(trunk, classifier=classifier, freeze=True)
    before = state(method.classifier)
    progress, finished = fit(method, train, config)
    assert finished and same(state(method.trunk), state(trunk))
    assert all(not torch.equal(before[name], value) for name, value in state(method.classifier).items())
    assert method.training and method.classifier.training and not any(m.training for m in method.trunk.modules())
    assert {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad} == {"classifier"}


@pytest.mark.parametrize("classifier", ["fc", "mlp"])
def test_fine_tuning_moves_weights_and_statistics_of_the_trunk(classifier):
    trunk = pretrained()
    method, train, config = prepared(trunk, classifier=classifier)
    fit(method, train, config)
    before, after = state(trunk), state(method.trunk)
    assert {name for name in before if torch.equal(before[name], after[name])} == {"mean", "std"}


def test_classifiers_and_their_logits():
    images = torch.rand(4, 3, 16, 16)
    for classifier, kinds in (("fc", []), ("mlp", [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear])):
        method, *_ = prepared(pretrained(), classifier=classifier)
        method.eval()
        assert [type(layer) for layer in method.classifier.children()] == kinds
        assert method.logits(images).shape == (4, 6)  # the six fine classes, which are trained on here
        assert torch.equal(method.embed(images), method.trunk(images))
        assert {name.split(".")[0] for name in method.state_dict()} == {"trunk", "classifier"}


def test_loss_is_the_cross_entropy_and_top1_is_in_percent():
    from fglib.methods import Batch

    method, train, _ = prepared(pretrained())
    method.eval()
    index = torch.tensor([0, 2, 5, 11, 17])
    labels, images = train.labels("small")[index], train.images[index].float() / 255
    parts = method.loss(Batch(torch.stack([images, images.flip(3)]), labels, index))
    total, right = 0.0, 0
    for view in (images, images.flip(3)):
        for row, label in zip(method.logits(view).softmax(1).tolist(), labels.tolist()):
            total -= torch.tensor(row[label]).log().item()
            right += row.index(max(row)) == label
    assert parts["total"].item() == pytest.approx(total / 10, rel=1e-5)
    assert parts["top1"].item() == pytest.approx(100 * right / 10)


def test_without_a_run_to_start_from_the_trunk_is_a_fresh_one():
    method, _, config = prepared(None)
    torch.manual_seed(config.seed)
    assert same(state(method.trunk), state(build_trunk(config.model)))


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match="unknown classifier 'linear'.*Valid: fc, mlp"):
        prepared(None, classifier="linear")
    other = build_trunk(ModelConfig("small_resnet", width=6, blocks=(1, 1)))
    with pytest.raises(ConfigError, match="`start` names is another network: give both runs the same `model`"):
        prepared(other)


# runs that start from others

GRID = {
    "title": "Runs that start from others",
    "question": "Does the machinery work?",
    "chapter": "00_quickstart",
    "common": {
        "data": {
            "name": "nested_patches",
            "coarse": "big",
            "fine": "small",
            "size": 16,
            "options": {"classes": 3, "children": 2, "images": 24},
        },
        "model": {"backbone": "small_resnet", "width": 4, "blocks": [1]},
        "augment": {"views": 2},
        "measure": ["accuracy"],
    },
    "variants": {
        "snca": {"method": {"name": "snca"}},
        "baseline": {"method": {"name": "baseline"}},
        "probe": {"method": {"name": "transfer", "options": {"freeze": True}}, "data": {"coarse": "small"}},
        "clusters": {"method": {"name": "clusterfit_plus", "options": {"clusters": 4}}},
    },
    "presets": {
        "smoke": {"hardware": "any", "seeds": [0, 1], "train": {"epochs": 1, "batch_size": 12, "lr": 0.05}},
        "cpu": {"hardware": "any", "seeds": [0], "train": {"epochs": 2, "batch_size": 12, "lr": 0.05}},
    },
}


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """grid(**common) writes the experiment, `common` laid on its common part, and returns its path."""
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("FGLIB_CHECKPOINTS", str(tmp_path / "checkpoints"))
    path = tmp_path / "grid.yml"

    def write(teacher=None):
        text = json.loads(json.dumps(GRID))
        text["variants"]["probe"]["start"] = {"experiment": str(path), "variant": "snca"}
        text["variants"]["clusters"]["start"] = {"experiment": str(path), "variant": "baseline"}
        for variant in ("snca", "baseline"):
            text["variants"][variant] |= teacher or {}
        path.write_text(yaml.safe_dump(text))
        return str(path)

    return write


def plan(experiment, variant, preset="smoke", seed=0):
    return lab.plans(experiment, preset, [seed], [variant])[0]


def test_a_plan_carries_the_key_of_the_run_it_starts_from(grid):
    experiment = grid()
    for preset, seed in (("smoke", 0), ("smoke", 1), ("cpu", 0)):
        first, probe = plan(experiment, "snca", preset, seed), plan(experiment, "probe", preset, seed)
        assert probe.config.start.preset == preset and probe.config.start.key == first.config.key()
        assert probe.start == first
    assert plan(experiment, "snca").config.start is None


def test_a_change_of_the_first_runs_configuration_is_another_run_here(grid):
    before = {variant: plan(grid(), variant) for variant in GRID["variants"]}
    experiment = grid(teacher={"model": {"backbone": "small_resnet", "width": 4, "blocks": [1], "stem": "32px"}})
    after = {variant: plan(experiment, variant) for variant in GRID["variants"]}
    assert all(before[variant].config.key() != after[variant].config.key() for variant in before)
    for variant in ("probe", "clusters"):  # nothing else changed
        start_key = before[variant].config.start
        assert dataclasses.replace(after[variant].config, start=start_key) == before[variant].config


def test_a_run_trains_the_one_it_starts_from_when_its_weights_are_missing(grid):
    experiment = grid()
    first, probe = plan(experiment, "snca"), plan(experiment, "probe")
    assert train_one(probe, device="cpu") is not None
    assert first.checkpoint.is_file() and probe.checkpoint.is_file() and not first.recorded
    data = load_data(first.config.data)
    trunk = restore(first).method.trunk
    assert same(state(restore(probe).method.trunk), state(trunk))
    alone = start(first.config, data)
    fit(alone, training_view(first.config, data), first.config)
    assert same(state(alone.trunk), state(trunk))


def test_weights_that_are_there_are_not_trained_again(grid, monkeypatch):
    experiment = grid()
    first, probe = plan(experiment, "snca"), plan(experiment, "probe")
    train_one(first, device="cpu")
    from fglib.methods import METHODS

    def no_step(self, batch):
        raise AssertionError("trained again")

    monkeypatch.setattr(METHODS["snca"], "loss", no_step)
    assert train_one(probe, device="cpu") is not None


def test_out_of_time_in_the_first_run_leaves_it_to_be_gone_on_with(grid):
    experiment = grid()
    first, probe = plan(experiment, "snca", "cpu"), plan(experiment, "probe", "cpu")
    assert train_one(probe, device="cpu", deadline=0.0) is None
    assert first.checkpoint.is_file() and not probe.checkpoint.is_file()
    metrics, *_ = train_one(probe, device="cpu")
    whole = lab.ensure(experiment, "cpu", device="cpu", variants=["probe"], refresh=True)
    assert whole.runs[0].metrics == metrics


def test_clusterfit_clusters_the_run_that_it_starts_from_and_keeps_its_clusters(grid):
    experiment = grid()
    clusters = plan(experiment, "clusters")
    metrics, *_ = train_one(clusters, device="cpu")
    assert metrics == {}  # its classes are clusters: there is no accuracy
    data = load_data(clusters.config.data)
    teacher = restore(plan(experiment, "baseline")).method
    again = start(clusters.config, data, teacher.trunk)
    again.before_training(lambda function: apply(again, function, data.train))
    kept = restore(clusters).method.cluster_of
    assert torch.equal(kept, again.cluster_of) and len(kept.unique()) > 1
    method = start(clusters.config, data)
    load_checkpoint(clusters.checkpoint, {"key": clusters.config.key()}, method)
    assert method.teacher == (None,)


def test_the_level_everything_is_made_where_the_data_lack_it(grid):
    config = plan(grid(), "snca").config
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, coarse=ROOT))
    data = load_data(config.data)
    assert data.hierarchy.levels[0] == ROOT and data.hierarchy.num_classes(ROOT) == 1
    view = training_view(config, data)
    assert view.visible == (ROOT,)
    progress, finished = fit(start(config, data), view, config)
    assert finished and progress.history[-1]["total"] == 0  # one class: nothing to tell apart


def test_a_start_that_leads_back_to_itself_is_named(grid):
    experiment = grid(teacher={"start": {"experiment": grid(), "variant": "probe"}})
    with pytest.raises(ConfigError, match="`start` leads from .*grid.yml .* back to itself"):
        plan(experiment, "probe")
