"""Coarse2Fine and its competitors: Algorithm 1 slowly, the two looks and what flows between them, centers, crops."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from tiny import CONFIG, dataset

from fglib.config import MethodConfig
from fglib.data.images import DataSet
from fglib.data.made.maps import INTERPOLATIONS, interpolations
from fglib.data.made.patches import nested_patches
from fglib.errors import ConfigError
from fglib.inference import embed
from fglib.lab.run import start, training_view
from fglib.methods import Batch
from fglib.methods import coarse2fine as module
from fglib.models import Upsampler, bilinear_upsample, build_trunk
from fglib.train import fit

PARTS = {
    "plain": {"total"},
    "bap": {"total", "first", "center"},
    "ws_dan": {"total", "first", "crop", "drop", "center"},
    "coarse2fine": {"total", "first", "second", "center"},
}
WITH_MAPS = ("bap", "ws_dan", "coarse2fine")


def prepared(name, pretrained=None, seed=7, **options):
    """(method, training view, configuration) on the tests' task."""
    config = dataclasses.replace(CONFIG, method=MethodConfig(name, options))
    data = dataset()
    torch.manual_seed(seed)
    return start(config, data, pretrained), training_view(config, data), config


def batch_of(train, rows=(0, 3, 5, 9, 20), views=1):
    index = torch.tensor(rows)
    images = train.images[index].float() / 255
    some = torch.stack([images, images.flip(3)])[:views]
    return Batch(some, train.labels("big")[index], index)


def stir(method):
    """Weights and statistics that are not those of the start, and centers that are not zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
        if hasattr(method, "centers"):
            method.centers.normal_(0, 0.1, generator=generator)
    return method.eval()


def attend_slowly(method, images):
    """Part features (B, M, N) and maps of images, a location and a map at a time, in float64."""
    f = method.trunk.maps(images).double()
    weight = method.attention.weight.double()[:, :, 0, 0]
    mean, var = method.norm.running_mean.double(), method.norm.running_var.double()
    maps = torch.stack([torch.einsum("n,bnhw->bhw", w, f) for w in weight], 1)
    maps = ((maps - mean[:, None, None]) / (var[:, None, None] + method.norm.eps).sqrt()).clamp(min=0)
    out = torch.zeros(len(f), len(weight), f.shape[1], dtype=torch.float64)
    for i in range(f.shape[2]):
        for j in range(f.shape[3]):
            out += maps[:, :, i, j, None] * f[:, None, :, i, j] / (f.shape[2] * f.shape[3])
    out = out.sign() * (out.abs() + 1e-6).sqrt()
    return out / out.flatten(1).norm(dim=1)[:, None, None], maps


def cross_entropy_slowly(head, parts, labels):
    scores = head.double()(parts.flatten(1) * parts.shape[2] ** 0.5).log_softmax(1)
    return -sum(row[y].item() for row, y in zip(scores, labels)) / len(labels)


def center_slowly(method, parts, labels):
    return sum((p - method.centers[y].double()).square().sum().item() for p, y in zip(parts, labels)) / len(labels)


# losses


@pytest.mark.parametrize("name", PARTS)
def test_every_method_trains_and_names_its_losses(name):
    method, train, config = prepared(name)
    before = [p.clone() for p in method.parameters()]
    progress, finished = fit(method, train, config)
    assert finished and set(progress.history[-1]) == {"epoch", "lr"} | PARTS[name]
    assert all(not torch.equal(a, b) for a, b in zip(before, method.parameters()))
    features = embed(method, train)
    assert features.isfinite().all() and len(features) == len(train)
    images = train.images[:4].float() / 255
    assert method.logits(images).shape == (4, 3) and method.location_maps(images).shape == (4, 16, 16)


@torch.no_grad()
@pytest.mark.parametrize("upsampler", ["learned", "bilinear"])
def test_the_loss_is_algorithm_1(monkeypatch, upsampler):
    method, train, _ = prepared("coarse2fine", upsampler=upsampler, maps=3, center_weight=0.7)
    stir(method)
    batch = batch_of(train, views=2)
    images, labels = torch.cat(list(batch.views)), batch.coarse.tolist() * 2
    drawn = [2, 0, 1, 1, 0, 2, 2, 1, 0, 0]
    monkeypatch.setattr(module, "draw_map", lambda maps: maps[torch.arange(10), drawn, None])
    parts = {name: value.item() for name, value in method.loss(batch).items()}

    first_parts, maps = attend_slowly(method, images)
    chosen = torch.stack([m[k] for m, k in zip(maps, drawn)])[:, None].float()
    mask = bilinear_upsample(chosen, (16, 16)) if upsampler == "bilinear" else method.upsampler(chosen, (16, 16))
    for i in range(10):
        mask[i] = mask[i].clamp(min=0) / mask[i].max() if mask[i].max() > 0 else 1
    second_parts, _ = attend_slowly(method, mask * images)
    center = center_slowly(method, first_parts, labels) + center_slowly(method, second_parts, labels)
    expected = {
        "first": cross_entropy_slowly(method.first_head, first_parts, labels),
        "second": cross_entropy_slowly(method.second_head, second_parts, labels),
        "center": center,
    }
    expected["total"] = expected["first"] + expected["second"] + 0.7 * center
    assert parts == pytest.approx(expected, rel=1e-3)


@torch.no_grad()
def test_attention_pooling_alone_has_one_head_and_one_center_term():
    method, train, _ = prepared("bap", maps=2, center_weight=3.0)
    stir(method)
    batch = batch_of(train)
    losses = method.loss(batch)
    parts, _ = attend_slowly(method, batch.views[0])
    assert losses["first"].item() == pytest.approx(
        cross_entropy_slowly(method.first_head, parts, batch.coarse.tolist()), rel=1e-4
    )
    assert losses["center"].item() == pytest.approx(center_slowly(method, parts, batch.coarse.tolist()), rel=1e-4)
    assert losses["total"].item() == pytest.approx((losses["first"] + 3 * losses["center"]).item(), rel=1e-5)


@torch.no_grad()
def test_ws_dan_is_taught_the_image_its_crop_and_what_is_left(monkeypatch):
    method, train, _ = prepared("ws_dan", maps=2, crop=0.4, drop=0.6)
    stir(method)
    batch = batch_of(train)
    images, labels = batch.views[0], batch.coarse.tolist()
    monkeypatch.setattr(module, "draw_map", lambda maps: maps[:, 1:])
    losses = method.loss(batch)
    parts, maps = attend_slowly(method, images)
    large = bilinear_upsample(maps[:, 1:].float() / maps[:, 1:].amax((2, 3), keepdim=True).float(), (16, 16))[:, 0]
    dropped, cropped = images.clone(), []
    for i, mask in enumerate(large):
        dropped[i, :, mask > 0.6] = 0
        cropped.append(module.crop_to(images[i : i + 1], mask[None] > 0.4))
    expected = {
        "first": cross_entropy_slowly(method.first_head, parts, labels) / 3,
        "crop": cross_entropy_slowly(method.first_head, attend_slowly(method, torch.cat(cropped))[0], labels) / 3,
        "drop": cross_entropy_slowly(method.first_head, attend_slowly(method, dropped)[0], labels) / 3,
        "center": center_slowly(method, parts, labels),
    }
    assert {name: losses[name].item() for name in expected} == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_penalty_on_overlapping_maps_is_added(norm):
    method, train, _ = prepared("coarse2fine", overlap=norm, overlap_weight=2.0)
    losses = method.loss(batch_of(train))
    rest = losses["first"] + losses["second"] + losses["center"]
    assert losses["overlap"] > 0
    assert losses["total"].item() == pytest.approx((rest + 2 * losses["overlap"]).item(), rel=1e-5)


# what flows between the two looks


@pytest.mark.parametrize("upsampler", ["learned", "bilinear"])
def test_the_error_of_the_second_head_reaches_the_attention_through_the_pixels(upsampler):
    method, train, _ = prepared("coarse2fine", upsampler=upsampler)
    seen = []
    attend = method.attend

    def spy(images):
        if images.requires_grad:
            images.retain_grad()
        seen.append(images)
        return attend(images)

    method.attend = spy
    method.loss(batch_of(train))["second"].backward()
    first, second = seen
    assert not first.requires_grad and second.grad.abs().sum() > 0
    assert method.first_head.weight.grad is None  # the first head has no part in it
    if upsampler == "learned":
        assert all(p.grad.abs().sum() > 0 for p in method.upsampler.parameters())


def test_no_gradient_reaches_the_map_that_crops_and_drops():
    method, train, _ = prepared("ws_dan")
    seen = []
    attend = method.attend
    method.attend = lambda images: seen.append(images.requires_grad) or attend(images)
    method.loss(batch_of(train))
    assert seen == [False, False, False]


def test_it_starts_from_the_up_sampler_of_another_run():
    pretrained = Upsampler()
    method, _, _ = prepared("coarse2fine", pretrained)
    for a, b in zip(pretrained.parameters(), method.upsampler.parameters()):
        assert torch.equal(a, b) and a is not b
    with pytest.raises(ConfigError, match="the upsampler of the run that `start` names is another network"):
        prepared("coarse2fine", build_trunk(CONFIG.model))
    assert prepared("coarse2fine", pretrained, upsampler="bilinear")[0].upsampler is None


# centers


@pytest.mark.parametrize("name", WITH_MAPS)
def test_centers_move_after_the_step_once_for_each_class(name):
    method, train, _ = prepared(name, center_momentum=0.2)
    assert not method.centers.any()
    batch = batch_of(train, views=2)
    method.loss(batch)
    assert not method.centers.any()
    seen, labels = method.seen, method.seen_labels.tolist()
    assert len(seen) == len(labels) == (20 if name == "coarse2fine" else 10)
    assert torch.allclose(seen.flatten(1).norm(dim=1), torch.ones(len(seen)), atol=1e-5)
    method.after_step(batch)
    for c in range(3):
        own = [f for f, y in zip(seen, labels) if y == c]
        expected = 0.2 * sum(own) / len(own) if own else torch.zeros_like(seen[0])
        torch.testing.assert_close(method.centers[c], expected)


@pytest.mark.parametrize("cut", [2, 5])
def test_a_resumed_training_reaches_the_same_bits(tmp_path, cut):
    whole, train, config = prepared("coarse2fine")
    fit(whole, train, config)
    path, first, second = tmp_path / "run.safetensors", prepared("coarse2fine")[0], prepared("coarse2fine", seed=8)[0]
    steps = []

    class Stop(Exception):
        pass

    def after_step(batch):
        type(first).after_step(first, batch)
        steps.append(1)
        if len(steps) == cut + 1:
            raise Stop

    first.after_step = after_step
    with pytest.raises(Stop):
        fit(first, train, config, checkpoint=path, save_every=0)
    fit(second, train, config, checkpoint=path)
    for (name, a), b in zip(whole.state_dict().items(), second.state_dict().values()):
        assert torch.equal(a, b), name


# inference


@torch.no_grad()
def test_the_three_modes_of_inference():
    images = dataset().test.images[:6].float() / 255
    results = {}
    for mode in ("first", "second", "average"):
        method = stir(prepared("coarse2fine", inference=mode)[0])
        heads = method.heads(images)
        assert torch.equal(method.logits(images), heads[mode])
        results[mode] = heads[mode].exp()
        torch.testing.assert_close(results[mode].sum(1), torch.ones(6))
    torch.testing.assert_close(results["average"], (results["first"] + results["second"]) / 2)
    # inference highlights with the mean of the maps
    parts, attention = method.attend(images)
    mask = method.upsample(attention.mean(1, keepdim=True), images)
    fine = method.scores(method.second_head, method.attend(mask * images)[0]).softmax(1)
    torch.testing.assert_close(results["second"], fine)
    assert torch.equal(method.location_maps(images), mask[:, 0])


@torch.no_grad()
def test_ws_dan_looks_twice_at_inference():
    method = stir(prepared("ws_dan")[0])
    images = dataset().test.images[:6].float() / 255
    parts, attention = method.attend(images)
    mean = attention.mean(1, keepdim=True)
    crops = module.crop_to(images, bilinear_upsample(mean / mean.amax((2, 3), keepdim=True), (16, 16))[:, 0] > 0.5)
    both = [method.scores(method.first_head, method.attend(x)[0]).softmax(1) for x in (images, crops)]
    torch.testing.assert_close(method.logits(images).exp(), sum(both) / 2)


@torch.no_grad()
def test_the_plain_network_is_located_by_the_map_of_the_class_it_predicts():
    method = stir(prepared("plain")[0])
    images = dataset().test.images[:6].float() / 255
    maps = method.trunk.maps(images)
    for i, c in enumerate(method.logits(images).argmax(1)):
        cam = torch.einsum("n,nhw->hw", method.head.linear.weight[c], maps[i]) + method.head.linear.bias[c]
        expected = bilinear_upsample(cam[None, None], (16, 16))[0, 0]
        torch.testing.assert_close(method.location_maps(images)[i], expected, rtol=1e-4, atol=1e-5)


# pieces


def test_one_map_is_drawn_for_each_image_and_all_are_equally_likely():
    torch.manual_seed(0)
    attention = torch.arange(4.0)[None, :, None, None].expand(2000, 4, 2, 3)
    drawn = module.draw_map(attention)
    assert drawn.shape == (2000, 1, 2, 3) and (drawn == drawn[:, :, :1, :1]).all()
    counts = torch.bincount(drawn[:, 0, 0, 0].long())
    assert len(counts) == 4 and (counts > 430).all() and (counts < 570).all()  # within 3.6 deviations of 500


def test_maps_are_divided_by_their_maximum_and_an_empty_one_passes_everything():
    maps = torch.tensor([[0.0, 2.0, 8.0], [0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])[:, None, None]
    expected = torch.tensor([[0.0, 0.25, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])[:, None, None]
    maps.requires_grad_()
    out = module.with_maximum_one(maps)
    assert torch.equal(out, expected)
    out.sum().backward()
    assert maps.grad.isfinite().all()


def sampled_slowly(image, y, x):
    """The image (H, W) between the centers of its pixels, those at the border going on beyond it."""
    height, width = len(image), len(image[0])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, u = y - top, x - left
    upper = (1 - u) * image[top][left] + u * image[top][right]
    return (1 - v) * upper + v * ((1 - u) * image[below][left] + u * image[below][right])


def test_a_crop_is_the_box_of_its_region_enlarged():
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    region = torch.zeros(2, 12, 12, dtype=torch.bool)
    region[0, 2, 4] = region[0, 5, 9] = True  # rows 2 to 5, columns 4 to 9
    region[1] = True
    crops = module.crop_to(images, region)
    assert crops.shape == images.shape
    torch.testing.assert_close(crops[1], images[1])
    for channel, image in zip(crops[0], images[0].tolist()):
        slow = [
            [sampled_slowly(image, 2 + (i + 0.5) * 4 / 12 - 0.5, 4 + (j + 0.5) * 6 / 12 - 0.5) for j in range(12)]
            for i in range(12)
        ]
        torch.testing.assert_close(channel, torch.tensor(slow))


def test_part_features_are_bounded_and_their_slope_at_zero_is_finite():
    parts = torch.tensor([[[4.0, -9.0], [0.0, 1.0]]], requires_grad=True)
    out = module.bounded(parts)
    expected = torch.tensor([[[2.0, -3.0], [0.0, 1.0]]]) / 14**0.5
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    out.sum().backward()
    assert parts.grad.isfinite().all()


def test_attention_starts_with_orthogonal_rows_unless_told_otherwise():
    for orthogonal in (True, False):
        weight = prepared("bap", orthogonal=orthogonal)[0].attention.weight.flatten(1)
        assert torch.allclose(weight @ weight.T, torch.eye(8), atol=1e-5) == orthogonal


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bap", {"maps": 9}, "9 rows cannot be orthogonal, as only 8 directions exist"),
        ("bap", {"maps": 0}, "maps is 0, must be at least 1"),
        ("bap", {"overlap": "l3"}, "unknown overlap 'l3'"),
        ("ws_dan", {"crop": 1.0}, "crop is 1.0"),
        ("ws_dan", {"drop": 0.0}, "drop 0.0"),
        ("coarse2fine", {"upsampler": "bicubic"}, "unknown upsampler 'bicubic'"),
        ("coarse2fine", {"inference": "mean"}, "unknown inference 'mean'"),
        ("coarse2fine", {"map": 3}, "map"),
    ],
)
def test_bad_options_are_named(name, options, message):
    with pytest.raises(ConfigError, match=message):
        prepared(name, **options)


# the up-sampler's pre-training


@pytest.fixture
def pairs():
    train, test = interpolations(6, images=60, test_images=12)
    data = dataclasses.replace(CONFIG.data, name="interpolations", coarse="interpolation", fine="interpolation")
    method = MethodConfig("upsampler", {"factor": 2, "width": 4})
    augment = type(CONFIG.augment)()
    config = dataclasses.replace(CONFIG, data=data, method=method, augment=augment)
    return DataSet("interpolations", train, test), config


def test_the_label_of_a_map_names_the_interpolation_of_its_target(pairs):
    data, config = pairs
    method = start(config, data)
    index = torch.arange(9)
    images, kinds = data.train.images[index].float() / 255, data.train.labels("interpolation")[index]
    assert set(kinds.tolist()) == {0, 1, 2}
    errors = []
    for image, kind in zip(images, kinds):
        corners = {} if INTERPOLATIONS[kind] == "nearest" else {"align_corners": False}
        target = F.interpolate(image[None, :1], (12, 12), mode=INTERPOLATIONS[kind], **corners)
        errors.append((method.trunk(image[None, :1], (12, 12)) - target).square().mean().item())
    loss = method.loss(Batch(images[None], kinds, index))["total"].item()
    assert loss == pytest.approx(sum(errors) / 9, rel=1e-4)


def test_other_data_cannot_pre_train_an_up_sampler():
    train, test = nested_patches(16, classes=4, children=2, images=20)
    config = dataclasses.replace(CONFIG, method=MethodConfig("upsampler"))
    with pytest.raises(ConfigError, match="needs the data set 'interpolations' with its 3 ways .* not 4 classes"):
        start(config, DataSet("nested_patches", train, test))


def test_pre_training_lowers_the_error(pairs):
    data, config = pairs
    method = start(config, data)
    train = dataclasses.replace(config.train, epochs=20, lr=0.1)
    progress, _ = fit(method, training_view(config, data), dataclasses.replace(config, train=train))
    assert progress.history[-1]["total"] < 0.5 * progress.history[0]["total"]
