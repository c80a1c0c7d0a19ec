"""Subtle differences and the losses it is compared with: each slowly, the block in training alone, centers, starts."""

import dataclasses
import functools
import math

import pytest
import torch
from tiny import CONFIG, dataset

from fglib.config import AugmentConfig, MethodConfig
from fglib.errors import ConfigError
from fglib.inference import embed
from fglib.lab.run import start, training_view
from fglib.methods import Batch
from fglib.methods import subtle as module
from fglib.models import DiversificationBlock, bilinear_upsample
from fglib.train import fit

SMALL = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, coarse="small"))  # six classes
OPTIONS = {
    "plain": {},
    "gce": {"k": 2},
    "db": {},
    "db_gce": {"k": 2},
    "db_center": {"weight": 0.4},
    "db_lgm": {"margin": 0.3, "likelihood": 0.2},
    "db_maxent": {"weight": 0.6},
    "db_pc": {"weight": 5.0},
    "db_smoothing": {"smoothing": 0.25},
}
WITH_BLOCK = [name for name in OPTIONS if name.startswith("db")]


def configured(name, changes=None, **options):
    return dataclasses.replace(SMALL, method=MethodConfig(name, options), **changes or {})


def prepared(name, changes=None, **options):
    """(method, training view, configuration) on the six small patches of the tests' task."""
    config, data = configured(name, changes, **options), dataset()
    return start(config, data), training_view(config, data), config


def batch_of(train, rows=(0, 3, 5, 9, 20, 11), views=1, progress=0.0):
    index = torch.tensor(rows)
    images = train.images[index].float() / 255
    some = torch.stack([images, images.flip(3)])[:views]
    return Batch(some, train.labels("small")[index], index, progress=progress)


def stir(method):
    """Weights and statistics that are not those of the start, centers that are not zero; in evaluation."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
        if hasattr(method, "centers"):
            method.centers.normal_(0, 0.5, generator=generator)
    return method.eval()


def weights(method):
    return torch.cat([t.flatten().float() for t in method.state_dict().values()])


@functools.cache
def fitted(name, augmented=True, **options):
    """Weights and history of a whole training."""
    method, train, config = prepared(name, {} if augmented else {"augment": AugmentConfig()}, **options)
    progress, _ = fit(method, train, config)
    return weights(method), progress.history


# losses


@pytest.mark.parametrize("name", OPTIONS)
def test_every_method_trains_and_names_its_losses(name):
    method, train, config = prepared(name, **OPTIONS[name])
    before = [p.clone() for p in method.parameters()]
    progress, finished = fit(method, train, config)
    parts = {"total", "cross_entropy", "center"} if name == "db_center" else {"total"}
    assert finished and set(progress.history[-1]) == {"epoch", "lr"} | parts
    assert all(not torch.equal(a, b) for a, b in zip(before, method.parameters()))
    features = embed(method, train)
    assert features.isfinite().all() and features.shape == (len(train), method.trunk.dim)
    images = train.images[:4].float() / 255
    assert method.logits(images).shape == (4, 6) and method.location_maps(images).shape == (4, 16, 16)
    assert method.class_maps(images).shape == (4, 6, 8, 8)


def features_slowly(method, images):
    """Pooled features (B, N) in float64, a place at a time."""
    f = method.trunk.maps(images).double()
    return sum(f[:, :, i, j] for i in range(f.shape[2]) for j in range(f.shape[3])) / (f.shape[2] * f.shape[3])


def scores_slowly(method, pooled):
    """Scores [B][C] of pooled features."""
    w, b = method.head.linear.weight.double(), method.head.linear.bias.double()
    return [[float(w[c] @ f + b[c]) for c in range(len(w))] for f in pooled]


def log_softmax_slowly(scores):
    total = math.fsum(math.exp(s - max(scores)) for s in scores)
    return [s - max(scores) - math.log(total) for s in scores]


def cross_entropy_slowly(method, pooled, labels):
    return -sum(log_softmax_slowly(s)[y] for s, y in zip(scores_slowly(method, pooled), labels)) / len(labels)


def boosting_slowly(method, pooled, labels):
    total = 0.0
    for s, y in zip(scores_slowly(method, pooled), labels):
        kept = sorted((v for c, v in enumerate(s) if c != y), reverse=True)[:2]
        total -= log_softmax_slowly([s[y], *kept])[0]
    return total / len(labels)


def with_center_slowly(method, pooled, labels):
    centers = method.centers.double()[:, 0]
    center = sum(float((f - centers[y]).square().sum()) for f, y in zip(pooled, labels)) / len(labels)
    return cross_entropy_slowly(method, pooled, labels) + 0.4 * center


def mixture_slowly(method, pooled, labels):
    total, means = 0.0, method.means.double().tolist()
    for f, y in zip(scores_slowly(method, pooled), labels):
        distances = [sum((a - b) ** 2 for a, b in zip(f, m)) / 2 for m in means]
        scores = [-d * (1.3 if c == y else 1.0) for c, d in enumerate(distances)]
        total += 0.2 * distances[y] - log_softmax_slowly(scores)[y]
    return total / len(labels)


def entropy_slowly(method, pooled, labels):
    total = 0.0
    for s in scores_slowly(method, pooled):
        total += 0.6 * math.fsum(math.exp(v) * v for v in log_softmax_slowly(s))
    return cross_entropy_slowly(method, pooled, labels) + total / len(labels)


def confusion_slowly(method, pooled, labels):
    p = [[math.exp(v) for v in log_softmax_slowly(s)] for s in scores_slowly(method, pooled)]
    total = 0.0
    for i in range(len(p) // 2):
        other = len(p) - 1 - i
        if labels[i] != labels[other]:
            total += 2 * 5.0 * math.fsum((a - b) ** 2 for a, b in zip(p[i], p[other]))
    return cross_entropy_slowly(method, pooled, labels) + total / len(labels)


def smoothing_slowly(method, pooled, labels):
    total = 0.0
    for s, y in zip(scores_slowly(method, pooled), labels):
        logp = log_softmax_slowly(s)
        total -= sum((0.75 * (c == y) + 0.25 / len(logp)) * v for c, v in enumerate(logp))
    return total / len(labels)


SLOWLY = {
    "plain": cross_entropy_slowly,
    "gce": boosting_slowly,
    "db": cross_entropy_slowly,
    "db_gce": boosting_slowly,
    "db_center": with_center_slowly,
    "db_lgm": mixture_slowly,
    "db_maxent": entropy_slowly,
    "db_pc": confusion_slowly,
    "db_smoothing": smoothing_slowly,
}


@torch.no_grad()
@pytest.mark.parametrize(("name", "views"), [(name, views) for views in (1, 2) for name in OPTIONS])
def test_the_loss_of_every_method_slowly(name, views):
    """In evaluation, where the block lets all through."""
    method, train, _ = prepared(name, **OPTIONS[name])
    stir(method)
    batch = batch_of(train, views=views)
    pooled = features_slowly(method, torch.cat(list(batch.views)))
    expected = SLOWLY[name](method, pooled, batch.coarse.tolist() * views)
    losses = method.loss(batch)
    assert losses["total"].item() == pytest.approx(expected, rel=1e-4)
    of_plain = cross_entropy_slowly(method, pooled, batch.coarse.tolist() * views)
    assert name in ("plain", "db") or abs(expected - of_plain) > 1e-2
    if name == "db_center":
        assert losses["cross_entropy"].item() + 0.4 * losses["center"].item() == pytest.approx(expected, rel=1e-4)


def test_plain_is_grafits_baseline_to_the_last_bit():
    (plain, history), (baseline, other) = fitted("plain"), fitted("baseline")
    assert [row["total"] for row in history] == [row["total"] for row in other]
    assert torch.equal(plain, baseline)


@pytest.mark.parametrize("options", [{"k": 5}, {"k": 15}, {"k": 5, "exact_k": True}, {"k": 1, "start_at": 1.0}])
def test_keeping_every_negative_trains_the_plain_network_to_the_last_bit(options):
    assert torch.equal(fitted("plain")[0], fitted("gce", **options)[0])


def test_dropping_negatives_trains_another_network():
    plain, whole, late = fitted("plain")[0], fitted("gce", k=2)[0], fitted("gce", k=2, start_at=0.5)[0]
    assert not torch.equal(plain, whole) and not torch.equal(plain, late) and not torch.equal(whole, late)


@pytest.mark.parametrize("name", ["gce", "db_gce"])
def test_the_loss_starts_when_that_part_of_the_training_is_done(name, monkeypatch):
    method, train, config = prepared(name, k=2, start_at=0.5)
    seen, steps = [], []
    loss, boosting = method.loss, module.gradient_boosting_cross_entropy

    def spy(scores, labels, k, exact_k):
        steps.append((len(seen) - 1, k))
        return boosting(scores, labels, k, exact_k)

    monkeypatch.setattr(module, "gradient_boosting_cross_entropy", spy)
    method.loss = lambda batch: seen.append(batch.progress) or loss(batch)
    fit(method, train, config)
    assert steps == [(step, 2) for step in range(9) if step / 9 >= 0.5] and len(seen) == 9


def test_cross_entropy_goes_before():
    (method, train, _), (plain, *_) = prepared("gce", k=2, start_at=0.5), prepared("plain")
    for progress, same in ((0.0, True), (0.4999, True), (0.5, False), (1.0, False)):
        batch = batch_of(train, progress=progress)
        assert (method.loss(batch)["total"] == plain.loss(batch)["total"]) == same


def test_ties_are_all_kept_unless_k_is_exact():
    scores, labels = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.0, 0.0]]), torch.tensor([0])
    for exact_k, kept in ((False, 3), (True, 1)):
        method, _, _ = prepared("gce", k=1, exact_k=exact_k)
        loss = method.criterion(scores, labels, torch.zeros(1, 8, 2, 2), 0.0)["total"].item()
        assert loss == pytest.approx(math.log(math.e + kept * math.e**2) - 1)


# the block


@pytest.mark.parametrize("name", WITH_BLOCK)
def test_in_training_the_block_stands_between_the_maps_and_their_pooling(name):
    block = {"p_peak": 0.7, "p_patch": 0.4, "patch_size": 2, "alpha": 0.05}
    method, train, _ = prepared(name, **OPTIONS[name], **block)
    found = method.head.block
    assert isinstance(found, DiversificationBlock) and {key: getattr(found, key) for key in block} == block
    stir(method).train()
    batch = batch_of(train)
    torch.manual_seed(5)
    with torch.no_grad():
        total = method.loss(batch)["total"]
        torch.manual_seed(5)
        features = method.trunk.maps(batch.views[0])
        scores = found(method.head.maps(features)).mean((2, 3))
        if name == "db_lgm":
            scores = -torch.cdist(scores, method.means).square() / 2
        expected = method.criterion(scores, batch.coarse, features, 0.0)["total"]
        unsuppressed = method.criterion(method.eval().scores(features), batch.coarse, features, 0.0)["total"]
    torch.testing.assert_close(total, expected)
    assert abs(total - unsuppressed) > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("name", WITH_BLOCK)
def test_in_evaluation_there_is_no_block_and_nothing_is_drawn(name):
    method = stir(prepared(name, **OPTIONS[name], alpha=0.0)[0])
    images = dataset().test.images[:6].float() / 255
    state = torch.get_rng_state()
    logits, maps, features = method.logits(images), method.class_maps(images), method.trunk.maps(images)
    assert torch.equal(torch.get_rng_state(), state)
    method.head.block = None
    torch.testing.assert_close(logits, method.logits(images))
    assert torch.equal(maps, method.class_maps(images))
    assert torch.equal(maps, method.head.maps(features))


@pytest.mark.parametrize("options", [{"alpha": 1.0}, {"p_peak": 0.0, "p_patch": 0.0}])
def test_a_block_that_suppresses_nothing_trains_the_plain_network(options):
    """Without augmentation, whose draws those of the block would shift; pooling the maps rounds in another order."""
    (plain, history), (db, other) = fitted("plain", False), fitted("db", False, **options)
    torch.testing.assert_close(db, plain, rtol=1e-3, atol=1e-5)
    assert [row["total"] for row in other] == pytest.approx([row["total"] for row in history], rel=1e-4)
    assert not torch.allclose(fitted("db", False)[0], plain, rtol=1e-3, atol=1e-5)


# maps


@torch.no_grad()
@pytest.mark.parametrize("name", OPTIONS)
def test_scores_are_the_means_of_the_class_maps(name):
    method = stir(prepared(name, **OPTIONS[name])[0])
    images = dataset().test.images[:6].float() / 255
    expected = method.class_maps(images).mean((2, 3))
    if name == "db_lgm":  # these means are the features of the mixture
        expected = -torch.cdist(expected, method.means).square() / 2
    torch.testing.assert_close(method.logits(images), expected)


@torch.no_grad()
@pytest.mark.parametrize("name", ["plain", "db_gce", "db_lgm"])
def test_an_image_is_located_by_the_map_of_the_class_that_is_predicted(name):
    method = stir(prepared(name, **OPTIONS[name])[0])
    images = dataset().test.images[:6].float() / 255
    maps, found = method.class_maps(images), method.location_maps(images)
    for image, own, c in zip(found, maps, method.logits(images).argmax(1)):
        torch.testing.assert_close(image, bilinear_upsample(own[c][None, None], (16, 16))[0, 0])


@pytest.mark.parametrize("name", OPTIONS)
def test_bf16_leaves_maps_scores_and_losses_in_float32(name):
    """Rounded to bfloat16, scores of similar classes tie, and so do places of a map."""
    method, train, config = prepared(name, **OPTIONS[name])
    images = batch_of(train).views[0]
    with torch.autocast("cpu", torch.bfloat16):
        features, maps, scores = method.trunk.maps(images), method.class_maps(images), method.logits(images)
        losses = method.loss(batch_of(train))
    assert features.dtype == torch.bfloat16
    for values in (maps, scores, *losses.values()):
        assert values.dtype == torch.float32
    for values in (maps, scores):
        assert (values != values.bfloat16().float()).float().mean() > 0.5
    fit(method, train, dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=1, precision="bf16")))
    assert weights(method).isfinite().all()


# the Gaussian mixture


@torch.no_grad()
def test_the_gaussian_mixture_sees_half_the_squared_distances_of_pooled_class_maps_to_its_means(monkeypatch):
    method, train, _ = prepared("db_lgm", p_peak=0.0, p_patch=0.0)
    assert torch.equal(method.means, torch.eye(6))
    stir(method)
    seen = []
    monkeypatch.setattr(module, "gaussian_mixture_loss", lambda d, y, *weights: seen.append((d, weights)) or d.sum())
    batch = batch_of(train)
    for training in (False, True):
        method.train(training)
        method.loss(batch)
        distances, settings = seen.pop()
        f = method.class_maps(batch.views[0]).mean((2, 3))
        for i in range(len(f)):
            for c, mean in enumerate(method.means):
                assert distances[i, c].item() == pytest.approx(((f[i] - mean) ** 2).sum().item() / 2, rel=1e-4)
    assert settings == (0.1, 0.1)
    method.eval()
    nearest = torch.cdist(method.class_maps(batch.views[0]).mean((2, 3)), method.means).argmin(1)
    assert torch.equal(method.logits(batch.views[0]).argmax(1), nearest)


def test_features_that_tell_the_classes_apart_bring_the_mixtures_loss_down_under_the_block():
    """Where the block scales the product in a distance and not the squares, the loss stays ten times as high."""
    method, _, _ = prepared("db_lgm")
    labels = torch.arange(6).repeat(20)
    with torch.no_grad():
        method.head.linear.weight.copy_(torch.eye(6, 8))
        method.head.linear.bias.zero_()
    length = torch.tensor(1.0, requires_grad=True)
    optimizer = torch.optim.Adam([length, method.means], lr=0.05)
    torch.manual_seed(0)
    losses = []
    for _ in range(300):
        features = (length * torch.eye(6, 8)[labels])[:, :, None, None] * 2 * torch.rand(len(labels), 1, 8, 8)
        loss = method.criterion(method.scores(features), labels, features, 0.0)["total"]
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > 1 and torch.stack(losses[-50:]).mean() < 0.1


# centers


def test_centers_move_after_the_step_alone():
    method, train, _ = prepared("db_center", momentum=0.3)
    assert not method.centers.any()
    batch = batch_of(train, views=2)
    method.loss(batch)["total"].backward()
    method.logits(batch.views[0])
    assert not method.centers.any() and not method.seen.requires_grad
    seen, labels = method.seen.clone(), batch.coarse.tolist() * 2
    assert seen.shape == (12, 1, 8)
    method.after_step(batch)
    for c in range(6):
        own = [f for f, y in zip(seen, labels) if y == c]
        expected = 0.3 * sum(own) / len(own) if own else torch.zeros_like(seen[0])
        torch.testing.assert_close(method.centers[c], expected)


def test_the_weight_and_the_momentum_of_the_centers_are_those_of_wen_et_al_unless_given():
    method, *_ = prepared("db_center")
    assert (method.weight, method.momentum) == (0.003, 0.5) and "centers" in method.state_dict()


# going on, options


@pytest.mark.parametrize("cut", [2, 5])
@pytest.mark.parametrize("name", ["db_gce", "db_center"])
def test_a_resumed_training_reaches_the_same_bits(tmp_path, name, cut):
    whole, train, config = prepared(name, **OPTIONS[name])
    expected, _ = fit(whole, train, config)
    path = tmp_path / "run.safetensors"
    first, second = prepared(name, **OPTIONS[name])[0], stir(prepared(name, **OPTIONS[name])[0])
    steps, loss = [], first.loss

    def stopped(batch):
        if len(steps) == cut:
            raise KeyboardInterrupt
        steps.append(1)
        return loss(batch)

    first.loss = stopped
    with pytest.raises(KeyboardInterrupt):
        fit(first, train, config, checkpoint=path, save_every=0)
    torch.manual_seed(99)  # the block's draws go on where they were
    progress, _ = fit(second, train, config, checkpoint=path)
    assert progress.history == expected.history and torch.equal(weights(whole), weights(second))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gce", {"k": 0}, "k is 0"),
        ("db_gce", {"k": -3}, "k is -3"),
        ("gce", {"k": "15"}, "k is 15 .* must be a whole number"),
        ("gce", {"k": 2.5}, "k is 2.5 .* must be a whole number"),
        ("db_center", {"momentum": 1.5}, "momentum is 1.5, must be from 0 to 1"),
        ("db_lgm", {"margin": -0.1}, "margin is -0.1"),
        ("gce", {"start_at": 2}, "start_at 2, .* a part from 0 to 1"),
        ("db_gce", {"start_at": -0.1}, "start_at -0.1"),
        ("plain", {"alpha": 0.1}, "method.options of 'plain': .*alpha"),
        ("gce", {"alpha": 0.1}, "method.options of 'gce': .*alpha"),
        ("db", {"k": 3}, "method.options of 'db': .*'k'"),
        ("db", {"alpha": 2}, "method.options of 'db': alpha is 2, must be in"),
        ("db_gce", {"p_peak": -0.5}, "method.options of 'db_gce': p_peak is -0.5"),
        ("db_pc", {"p_patch": 1.5}, "method.options of 'db_pc': p_patch is 1.5"),
        ("db_lgm", {"patch_size": 0}, "method.options of 'db_lgm': patch_size is 0"),
        ("db_maxent", {"patch_size": 2.5}, "method.options of 'db_maxent': patch_size is 2.5"),
        ("db_smoothing", {"smoothing": 2}, "smoothing is 2, must be from 0 to 1"),
        ("db_smoothing", {"smothing": 0.1}, "method.options of 'db_smoothing': .*smothing"),
        ("db_center", {"lambda": 0.1}, "method.options of 'db_center': .*lambda"),
    ],
)
def test_bad_options_are_named(name, options, message):
    with pytest.raises(ConfigError, match=message):
        prepared(name, **options)
