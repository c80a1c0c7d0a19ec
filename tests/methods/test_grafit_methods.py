"""Grafit and its competitors: losses as the equations say, state written at its time, numbers that repeat."""

import copy
import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F
from tiny import CONFIG, dataset
from torch import nn

from fglib.config import MethodConfig
from fglib.data.hierarchy import ROOT
from fglib.errors import ConfigError
from fglib.inference import apply, embed
from fglib.lab.run import start, training_view
from fglib.methods import Batch, Task
from fglib.methods import grafit as module
from fglib.models import build_trunk, ema_update_
from fglib.train import fit

PARTS = {
    "baseline": {"total"},
    "clusterfit_plus": {"total"},
    "snca": {"total"},
    "snca_plus": {"total"},
    "grafit_fc": {"total", "knn", "instance"},
    "grafit": {"total", "knn", "instance"},
    "inst": {"total"},
    "ce_inst": {"total", "coarse", "instance"},
}
WITH_MEMORY = ("snca", "snca_plus", "grafit_fc", "grafit")
WITH_TARGET = ("grafit_fc", "grafit", "inst", "ce_inst")
STATEFUL = ("clusterfit_plus", "snca", "grafit", "ce_inst")


def prepared(name, data=None, views=2, coarse="big", **options):
    """(method, training view, configuration); a network of other weights stands for the run that it starts from."""
    data = data or dataset()
    if name == "clusterfit_plus":
        options = {"clusters": 5, **options}
    config = dataclasses.replace(
        CONFIG,
        method=MethodConfig(name, options),
        data=dataclasses.replace(CONFIG.data, coarse=coarse),
        augment=dataclasses.replace(CONFIG.augment, views=views),
    )
    torch.manual_seed(7)
    return start(config, data, build_trunk(config.model)), training_view(config, data), config


def batch_of(train, rows=(0, 3, 5, 9, 20), views=2, progress=0.0):
    """Views that differ: the images, their mirror images, and darker ones."""
    index = torch.tensor(rows)
    images = train.images[index].float() / 255
    some = torch.stack([images, images.flip(3), images * 0.7])[:views]
    return Batch(some, train.labels(train.visible[0])[index], index, progress=progress)


def fill(method, train):
    method.before_training(lambda function: apply(method, function, train))


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# losses


@pytest.mark.parametrize("name", PARTS)
def test_every_method_trains_and_names_its_losses(name):
    method, train, config = prepared(name)
    before = state(method.trunk)
    progress, finished = fit(method, train, config)
    assert finished and set(progress.history[-1]) == {"epoch", "lr"} | PARTS[name]
    assert not same(before, state(method.trunk))
    features = embed(method, train)
    assert features.isfinite().all() and features.shape[1] == (method.dim if name in WITH_MEMORY else method.trunk.dim)


def knn_slowly(method, g, batch, train):
    """Eqs. 2 and 3 for every view and image as they are printed, in float64."""
    memory, labels, losses = F.normalize(method.memory.vectors.double(), dim=1), train.labels("big"), []
    for view in g.double():
        for one, i in zip(F.normalize(view, dim=1), batch.index.tolist()):
            weight = {j: (one @ m / method.temperature).exp() for j, m in enumerate(memory) if j != i}
            right = sum(w for j, w in weight.items() if labels[j] == labels[i])
            losses.append(-(right / sum(weight.values())).log())
    return torch.stack(losses).mean().item()


def instance_slowly(method, g, batch):
    """Eq. 1 over the ordered pairs of different views."""
    predicted = [method.instance.predictor(view) for view in g]
    targets = [method.instance.target(view) for view in batch.views]
    pairs = list(itertools.permutations(range(len(g)), 2))
    return -sum(F.cosine_similarity(predicted[a], targets[b]).mean().item() for a, b in pairs) / len(pairs)


def cross_entropy_slowly(method, g, targets):
    scores = [method.classifier(view).log_softmax(1) for view in g]
    return -sum(view[i, c].item() for view in scores for i, c in enumerate(targets)) / (len(g) * len(targets))


@torch.no_grad()
@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("name", PARTS)
def test_loss_is_the_papers_equation(name, views):
    method, train, config = prepared(name, views=views)
    fill(method, train)
    for p in method.parameters():  # target and online network must not be the same by chance
        p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    method.eval()
    batch = batch_of(train, views=views)
    g = torch.stack([method.embed(view) for view in batch.views])
    expected = {
        "knn": lambda: knn_slowly(method, g, batch, train),
        "instance": lambda: instance_slowly(method, g, batch),
        "coarse": lambda: cross_entropy_slowly(method, g, batch.coarse),
    }
    parts = method.loss(batch)
    for part in PARTS[name] - {"total"}:
        assert parts[part].item() == pytest.approx(expected[part](), rel=1e-4)
    total = {
        "baseline": expected["coarse"],
        "clusterfit_plus": lambda: cross_entropy_slowly(method, g, method.cluster_of[batch.index]),
        "snca": expected["knn"],
        "snca_plus": expected["knn"],
        "inst": expected["instance"],
    }.get(name, lambda: sum(parts[part].item() for part in PARTS[name] - {"total"}))
    assert parts["total"].item() == pytest.approx(total(), rel=1e-4)


def test_views_are_normalized_together_in_training():
    method, train, _ = prepared("snca")
    seen = []
    method.projector.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    method.project(batch_of(train))
    assert seen == [10]


def test_the_weights_of_eq_4_and_of_cross_entropy_with_instances():
    method, train, _ = prepared("grafit", knn_weight=0.5, instance_weight=3.0)
    fill(method, train)
    parts = method.loss(batch_of(train))
    assert parts["total"].item() == pytest.approx(0.5 * parts["knn"].item() + 3 * parts["instance"].item(), rel=1e-5)
    method, train, _ = prepared("ce_inst", instance_weight=0.25)
    parts = method.loss(batch_of(train))
    assert parts["total"].item() == pytest.approx((parts["coarse"] + 0.25 * parts["instance"]).item(), rel=1e-5)


def test_projectors_and_dimensions():
    sizes = {"snca": 128, "grafit_fc": 128, "snca_plus": 256, "grafit": 256}
    for name, dim in sizes.items():
        method, train, _ = prepared(name)
        assert isinstance(method.projector, nn.Linear) == (dim == 128)
        assert method.dim == dim and method.memory.vectors.shape == (len(train), dim)
        assert prepared(name, dim=6)[0].memory.vectors.shape == (len(train), 6)


def test_only_methods_with_a_classifier_of_the_coarse_labels_have_logits():
    with_logits = {name for name in PARTS if hasattr(prepared(name)[0], "logits")}
    assert with_logits == {"baseline", "ce_inst"}


# the memory


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_the_memory_holds_evaluation_embeddings_before_the_first_step_and_after_the_last(name, monkeypatch):
    method, train, config = prepared(name)
    untrained, seen = embed(copy.deepcopy(method), train), []
    original = method.loss

    def loss(batch):
        seen.append((method.training, method.memory.vectors.clone()))
        return original(batch)

    monkeypatch.setattr(method, "loss", loss)
    fit(method, train, config)
    assert all(training for training, _ in seen)
    torch.testing.assert_close(seen[0][1], F.normalize(untrained, dim=1))
    assert not torch.equal(seen[1][1], seen[0][1])
    torch.testing.assert_close(method.memory.vectors, F.normalize(embed(method, train), dim=1))


@pytest.mark.parametrize("renormalize", [True, False])
@pytest.mark.parametrize("name", WITH_MEMORY)
def test_a_step_writes_the_slots_of_its_batch_and_only_afterwards(name, renormalize):
    method, train, _ = prepared(name, renormalize=renormalize, momentum=0.5)
    fill(method, train)
    method.train()
    batch, before = batch_of(train), state(method.memory)["vectors"]
    with torch.no_grad():  # the statistics of its batches are what a network in training normalizes by
        g = copy.deepcopy(method).embed(batch.views.flatten(0, 1)).unflatten(0, (2, 5))
    method.loss(batch)["total"].backward()
    assert torch.equal(method.memory.vectors, before)
    method.after_step(batch)
    expected = before.clone()
    for row, slot in enumerate(batch.index):
        direction = F.normalize(sum(F.normalize(view[row], dim=0) for view in g), dim=0)
        average = (before[slot] + direction) / 2
        expected[slot] = F.normalize(average, dim=0) if renormalize else average
    torch.testing.assert_close(method.memory.vectors, expected)


# the target network


@pytest.mark.parametrize("name", WITH_TARGET)
def test_loss_alone_moves_no_target_and_no_memory(name):
    method, train, _ = prepared(name)
    fill(method, train)
    method.train()
    kept = {key: value for key, value in state(method).items() if "target" in key or "memory" in key}
    assert any(key.endswith("running_var") for key in kept)
    for _ in range(2):
        method.loss(batch_of(train))["total"].backward()
    assert same(kept, {key: value for key, value in state(method).items() if key in kept})
    assert not any(p.requires_grad or p.grad is not None for p in method.instance.target.parameters())
    assert all(p.grad is not None for p in method.instance.predictor.parameters())


@pytest.mark.parametrize("name", WITH_TARGET)
def test_the_target_follows_after_the_step(name):
    method, train, _ = prepared(name, tau=0.9)
    online = nn.Sequential(method.trunk, method.projector) if name in WITH_MEMORY else method.trunk
    assert same(state(online), state(method.instance.target))
    fill(method, train)
    method.train()
    for progress, decay in ((0.0, 0.9), (0.5, 0.95), (1.0, 1.0)):
        batch = batch_of(train, progress=progress)
        method.loss(batch)["total"].backward()
        with torch.no_grad():
            for p in method.trunk.parameters():
                p.sub_(0.1 * p.grad)
        expected = copy.deepcopy(method.instance.target)
        ema_update_(expected, online, decay)
        method.after_step(batch)
        torch.testing.assert_close(state(method.instance.target), state(expected))


def test_the_target_normalizes_by_its_batch_in_training_as_the_online_network_does():
    method, train, _ = prepared("inst")
    method.train()
    batch = batch_of(train)
    with torch.no_grad():
        views = batch.views.flatten(0, 1)
        assert torch.equal(method.instance.target(views), method.trunk(views))


@pytest.mark.parametrize("name", WITH_TARGET)
def test_tau_rises_from_its_start_to_one_over_the_training(name, monkeypatch):
    method, train, config = prepared(name)
    decays = []
    monkeypatch.setattr(module, "ema_update_", lambda target, online, decay: decays.append(decay))
    fit(method, train, config)
    assert len(decays) == 9 and decays[0] == pytest.approx(0.996) and sorted(set(decays)) == decays
    method.instance.follow(method.trunk, 0.5)
    method.instance.follow(method.trunk, 1.0)
    assert decays[-2:] == [pytest.approx(0.998), 1.0]


# repeating, resuming, hidden labels


@pytest.mark.parametrize("name", STATEFUL)
@pytest.mark.parametrize("stop_at", [2, 5])
def test_a_resumed_training_reaches_the_same_bits(name, stop_at, tmp_path):
    whole, train, config = prepared(name)
    expected, _ = fit(whole, train, config)
    first, *_ = prepared(name)
    path, original = tmp_path / "run.safetensors", first.loss
    steps = iter(range(stop_at))

    def interrupted(batch):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return original(batch)

    first.loss = interrupted
    with pytest.raises(KeyboardInterrupt):
        fit(first, train, config, checkpoint=path, save_every=0.0)
    second, *_ = prepared(name)
    torch.manual_seed(99)
    progress, finished = fit(second, train, config, checkpoint=path)
    assert finished and progress.history == expected.history
    assert same(state(whole), state(second))
    if name == "grafit":
        assert {"memory.vectors", "instance.target.0.body.stem.0.weight"} <= set(state(second))


@pytest.mark.parametrize("name", PARTS)
def test_the_hidden_labels_change_no_bit(name):
    plain = dataset()
    fine, parents = plain.train.targets["small"], torch.tensor(plain.hierarchy.parents["small"])
    siblings = torch.stack([(parents == parents[c]).nonzero().flatten().flip(0) for c in range(len(parents))])
    other = torch.where(torch.arange(len(fine)) % 3 == 0, siblings[fine, 0], siblings[fine, 1])
    assert not torch.equal(fine, other)
    shuffled = dataclasses.replace(
        plain, train=dataclasses.replace(plain.train, targets={**plain.train.targets, "small": other})
    )
    states = []
    for data in (plain, shuffled):
        method, train, config = prepared(name, data)
        fit(method, train, config)
        states.append(state(method))
    assert same(*states)


@pytest.mark.parametrize("name", ["inst", "grafit", "snca"])
def test_training_without_labels_is_training_on_the_level_everything(name):
    data = dataset().with_root()
    method, train, config = prepared(name, data, coarse=ROOT)
    assert train.visible == (ROOT,)
    progress, finished = fit(method, train, config)
    assert finished and embed(method, train).isfinite().all()
    if name == "grafit":
        assert progress.history[-1]["knn"] == 0 and progress.history[-1]["instance"] < 0


# ClusterFit+


class Teacher(nn.Module):
    """Features that point along one axis for each third of the training images, at lengths that say nothing."""

    def __init__(self, train):
        super().__init__()
        self.calls = 0
        self.register_buffer("group", torch.arange(len(train)) * 3 // len(train))

    def forward(self, images):
        assert not self.training
        rows = torch.arange(self.calls, self.calls + len(images))
        self.calls += len(images)
        return (F.one_hot(self.group[rows], 3) + 0.01) * 10.0 ** (rows[:, None] % 3)


def clusterfit(teacher, clusters=3):
    data = dataset()
    config = dataclasses.replace(CONFIG, method=MethodConfig("clusterfit_plus", {"clusters": clusters}))
    return start(config, data, teacher), training_view(config, data), config


def test_clusters_are_k_means_of_the_directions_of_the_teachers_features():
    teacher = Teacher(dataset().train)
    method, train, config = clusterfit(teacher.train())
    kept = state(teacher)
    fill(method, train)
    groups = [set(method.cluster_of[teacher.group == g].tolist()) for g in range(3)]
    assert all(len(group) == 1 for group in groups) and len(set.union(*groups)) == 3
    assert same(kept, state(teacher))
    batch = batch_of(train)
    f = module.each_view(method.trunk, batch.views)
    expected = F.cross_entropy(method.classifier(f).flatten(0, 1), method.cluster_of[batch.index].repeat(2))
    torch.testing.assert_close(method.loss(batch)["total"], expected)


def test_the_teacher_is_no_part_of_the_student():
    method, train, config = prepared("clusterfit_plus")
    (teacher,) = method.teacher
    theirs = {p.data_ptr() for p in teacher.state_dict().values()}
    assert not any(value.data_ptr() in theirs for value in method.state_dict().values())
    assert {name.split(".")[0] for name in method.state_dict()} == {"trunk", "classifier", "cluster_of"}
    assert not same(state(teacher), state(method.trunk))  # the student starts from weights of its own
    kept = state(teacher)
    fit(method, train, config)
    assert same(kept, state(teacher)) and method.teacher == (None,)


def test_clusterfit_without_a_run_to_start_from_says_how_to_name_one():
    method, train, config = clusterfit(None)
    with pytest.raises(ConfigError, match="clusterfit_plus.*`start: {experiment: ..., variant: baseline}`"):
        fit(method, train, config)


def test_the_number_of_clusters():
    task = Task(50_000, 20, torch.zeros(50_000, dtype=torch.long))
    method = module.ClusterFitPlus(build_trunk(CONFIG.model), task)
    assert method.classifier.out_features == 1500  # the paper's, on CIFAR-100
    for clusters in (1, 0, 26):
        with pytest.raises(ConfigError, match=f"clusters is {clusters}, must be from 2 to the 25 training images"):
            prepared("clusterfit_plus", clusters=clusters)


# configurations that cannot work


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("grafit", {"tau": 1.5}, r"tau is 1\.5, must be in \[0, 1\]"),
        ("inst", {"tau": -0.1}, r"tau is -0\.1"),
        ("snca", {"temperature": 0.0}, r"temperature 0\.0: both must be positive"),
        ("snca", {"dim": 0}, "dim is 0"),
        ("snca", {"momentum": 1.0}, r"method\.options of 'snca': momentum is 1\.0"),
        ("snca", {"sigma": 0.05}, "method.options of 'snca'.*sigma"),
        ("grafit", {"lambda": 1}, "method.options of 'grafit'.*lambda"),
    ],
)
def test_options_that_cannot_be_are_named(name, options, words):
    with pytest.raises(ConfigError, match=words):
        prepared(name, **options)


@pytest.mark.parametrize("name", WITH_TARGET)
def test_a_single_view_is_too_few_for_the_instance_loss(name):
    method, train, config = prepared(name, views=1)
    with pytest.raises(ConfigError, match=r"set augment\.views to 2 or more"):
        fit(method, train, config)


@pytest.mark.parametrize("name", ["snca", "snca_plus", "baseline"])
def test_one_view_is_enough_for_the_others(name):
    method, train, config = prepared(name, views=1)
    assert fit(method, train, config)[1]
