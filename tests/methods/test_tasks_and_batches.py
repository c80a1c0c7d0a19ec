"""What methods are given (tasks, batches of several views, weights of another run) and what they keep."""

import dataclasses

import pytest
import torch
from tiny import CONFIG, dataset, ready

from fglib.config import MethodConfig
from fglib.data.hierarchy import ROOT
from fglib.data.made.patches import nested_patches
from fglib.errors import ConfigError, HiddenLabelsError
from fglib.lab.run import start, training_view
from fglib.methods import Batch, Task, build_method
from fglib.methods.protocol import take_weights


def test_a_task_counts_images_and_classes_of_both_levels():
    train = dataset().train
    task = Task.of(train, "big", None)
    assert (task.num_images, task.num_coarse, task.num_fine, task.pretrained) == (25, 3, None, None)
    assert torch.equal(task.coarse, train.labels("big"))
    task = Task.of(train, "small", "small")
    assert (task.num_images, task.num_coarse, task.num_fine) == (25, 6, 6)
    task = Task.of(train, "big", "small", "network")
    assert (task.num_coarse, task.num_fine, task.pretrained) == (3, 6, "network")


def test_two_classes_are_enough_and_one_is_not():
    train, _ = nested_patches(16, classes=2, children=1, images=8)
    assert Task.of(train, "big", "small").num_coarse == 2
    train, _ = nested_patches(16, classes=1, children=2, images=8)
    for levels in (("big", None), ("small", "big")):
        with pytest.raises(ConfigError, match="level 'big' has a single class, 'big0'"):
            Task.of(train, *levels)
    assert Task.of(dataset().train.with_root(), ROOT, None).num_coarse == 1


def test_views_are_merged_one_after_the_other_each_with_its_labels():
    views = torch.arange(2.0)[:, None] * 10 + torch.arange(3.0)
    batch = Batch(views[:, :, None, None, None].expand(-1, -1, 3, 4, 4), torch.tensor([5, 6, 7]), torch.arange(3))
    images, labels = batch.merged()
    assert images.shape == (6, 3, 4, 4) and images[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert labels.tolist() == [5, 6, 7, 5, 6, 7]
    assert batch.progress == 0


def test_fine_labels_are_read_only_where_they_are_given_and_never_shown():
    hidden = Batch(torch.zeros(1, 2, 3, 4, 4), torch.zeros(2), torch.arange(2))
    with pytest.raises(HiddenLabelsError, match="use_fine: true"):
        hidden.fine  # noqa: B018
    seen = dataclasses.replace(hidden, fine_labels=torch.tensor([8, 9]))
    assert seen.fine.tolist() == [8, 9] and "fine_labels" not in repr(seen)


def test_weights_are_taken_over_and_not_shared():
    torch.manual_seed(0)
    mine, theirs = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    task = dataclasses.replace(Task.of(dataset().train, "big", None), pretrained=theirs)
    take_weights(mine, task)
    assert torch.equal(mine.weight, theirs.weight) and mine.weight.data_ptr() != theirs.weight.data_ptr()
    with pytest.raises(ConfigError, match="the head of the run that `start` names is another network"):
        take_weights(torch.nn.Linear(2, 4), task, "head")


@pytest.mark.parametrize("name", ["base", "fine", "indi", "base_indi", "base_indi_eff"])
@torch.no_grad()
def test_the_methods_of_patterns_train_on_the_first_view(name):
    method, train, config = ready(name)
    index = torch.arange(5)
    images = train.images[index].float() / 255
    fine = train.labels("small")[index] if config.use_fine else None
    labels = train.labels("big")[index], index, fine
    method.eval()
    one = method.loss(Batch(images[None], *labels))["total"]
    two = method.loss(Batch(torch.stack([images, images.flip(3) * 0.5]), *labels))["total"]
    other = method.loss(Batch((images.flip(3) * 0.5)[None], *labels))["total"]
    assert one == two != other


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("base", {"trunk", "super_head"}),
        ("base_indi_eff", {"trunk", "super_head", "instance_head"}),
        ("snca", {"trunk", "projector", "memory"}),
        ("grafit", {"trunk", "projector", "memory", "instance"}),
        ("plain", {"trunk", "head"}),
        ("coarse2fine", {"trunk", "attention", "norm", "first_head", "second_head", "centers", "upsampler"}),
    ],
)
def test_a_checkpoint_holds_no_labels(name, kept):
    """Those of the training set come with the data."""
    config = dataclasses.replace(CONFIG, method=MethodConfig(name))
    assert {key.split(".")[0] for key in start(config, dataset()).state_dict()} == kept


def test_labels_of_a_method_are_a_copy():
    """What a method does to its labels reaches no data set."""
    data = dataset()
    for name, labels in (("snca", "labels"), ("base_indi_eff", "superclass_of")):
        config = dataclasses.replace(CONFIG, method=MethodConfig(name))
        method = start(config, data)
        kept = getattr(method, labels)
        own = training_view(config, data).labels("big")
        assert torch.equal(kept, own) and kept.data_ptr() != own.data_ptr()


@torch.no_grad()
def test_top1_of_a_transfer_is_a_share_in_percent():
    config = dataclasses.replace(CONFIG, method=MethodConfig("transfer"))
    method = start(config, dataset()).eval()
    images = dataset().train.images[:8].float() / 255
    told = method.logits(images).argmax(1)
    labels = torch.where(torch.arange(8) < 6, told, (told + 1) % 3)
    assert method.loss(Batch(images[None], labels, torch.arange(8)))["top1"].item() == pytest.approx(75)


def test_a_method_of_fine_labels_is_not_built_where_they_are_hidden():
    config = dataclasses.replace(CONFIG, method=MethodConfig("fine"))
    task = Task.of(dataset().train, "big", "small")
    with pytest.raises(ConfigError, match="'fine' trains on the fine labels .'small'., which .* hides"):
        build_method(config, task)
    assert build_method(dataclasses.replace(config, use_fine=True), task).needs_fine


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("base", {"super_head": 3}),
        ("fine", {"fine_head": 6}),
        ("indi", {"instance_head": 25}),
        ("base_indi", {"super_head": 3, "instance_head": 25}),
    ],
)
def test_heads_have_a_row_for_each_class_or_image(name, heads):
    method, *_ = ready(name)
    found = {key: value.shape for key, value in method.state_dict().items() if key.endswith("head.weight")}
    assert found == {f"{head}.weight": (rows, method.trunk.dim) for head, rows in heads.items()}
    if name == "base":
        images = torch.rand(2, 3, 16, 16)
        assert torch.equal(method.eval().logits(images), method.trunk(images) @ method.super_head.weight.T)


@pytest.mark.parametrize(("images", "clusters"), [(25, 2), (67, 2), (100, 3), (1000, 30)])
def test_three_clusters_for_a_hundred_images_and_two_at_least(images, clusters):
    task = Task(images, 3, torch.zeros(images, dtype=torch.long))
    method = build_method(dataclasses.replace(CONFIG, method=MethodConfig("clusterfit_plus")), task)
    assert method.classifier.out_features == clusters


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("baseline", {"classifier.weight": 3}),
        ("ce_inst", {"classifier.weight": 3}),
        ("transfer", {"classifier.weight": 3}),
        ("plain", {"head.linear.weight": 3}),
        ("bap", {"first_head.weight": 3, "centers": 3}),
        ("coarse2fine", {"first_head.weight": 3, "second_head.weight": 3, "centers": 3}),
        ("db_center", {"head.linear.weight": 3, "centers": 3}),
        ("db_lgm", {"head.linear.weight": 3}),
        ("snca", {"memory.vectors": 25}),
    ],
)
def test_classifiers_and_centers_have_a_row_for_each_coarse_class(name, rows):
    state = start(dataclasses.replace(CONFIG, method=MethodConfig(name)), dataset()).state_dict()
    assert {key: len(state[key]) for key in rows} == rows
