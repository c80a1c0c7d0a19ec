"""Cached activations: the numbers that the frozen stages give, whole after a stop, and a cache of nothing else."""

import dataclasses
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import CONFIG, dataset

from fglib import activations
from fglib.activations import Activations, CachedTrunk
from fglib.config import AugmentConfig, ModelConfig, TrainConfig
from fglib.errors import ConfigError, FglibError
from fglib.lab.run import start, training_view
from fglib.models.backbones import build_trunk
from fglib.models.freezing import freeze
from fglib.train import fit

AUGMENT = AugmentConfig(pad_crop=2, flip=True)
CPU = torch.device("cpu")


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setenv("FGLIB_DATA", str(tmp_path))
    monkeypatch.setattr(activations, "PIECE", 10)
    return dataset().train


def frozen(up_to="layer1", seed=0):
    torch.manual_seed(seed)
    trunk = build_trunk(ModelConfig(backbone="small_resnet", width=4, blocks=(1, 1)))
    freeze(trunk, up_to, norms=True)
    return trunk.train()


def kept(found):
    return np.fromfile(found.path, np.float16).reshape(found.shape)


def test_they_are_what_the_frozen_stages_give_for_views_drawn_once(images):
    trunk = frozen()
    found = Activations(trunk, "layer1", images, AUGMENT, views=3).fill()
    assert found.shape[:2] == (3, 25) and found.bytes == found.path.stat().st_size
    for view in range(3):
        for piece in torch.arange(25).split(10):
            drawn = found._drawn(view, piece)
            with torch.no_grad():
                expected = trunk.body.layer1(trunk.body.stem((drawn - trunk.mean) / trunk.std))
            torch.testing.assert_close(
                torch.from_numpy(kept(found)[view, piece]).float(), expected, rtol=2e-3, atol=2e-3
            )
    assert not np.array_equal(kept(found)[0], kept(found)[1])


def test_an_epoch_shows_every_image_once_and_other_views_in_other_epochs(images):
    two = dataclasses.replace(AUGMENT, views=2)
    found = Activations(frozen(), "layer1", images, two, views=4).fill()
    batches = [torch.tensor([3, 1, 20]), torch.tensor([7])]
    seen = [list(found.epoch(batches, CPU, seed=5, epoch=e)) for e in (0, 0, 1)]
    for (index, views), batch in zip(seen[0], batches):
        assert (
            torch.equal(index, batch)
            and views.shape == (2, len(batch), *found.shape[2:])
            and views.dtype == torch.float32
        )
        for k, i in enumerate(batch.tolist()):
            shown = [
                next(v for v in range(4) if np.array_equal(kept(found)[v, i], view[k].half().numpy())) for view in views
            ]
            assert len(set(shown)) == 2
    assert all(torch.equal(a[1], b[1]) for a, b in zip(seen[0], seen[1]))
    assert not all(torch.equal(a[1], b[1]) for a, b in zip(seen[0], seen[2]))
    later = list(found.epoch(batches[1:], CPU, seed=5, epoch=0))
    assert torch.equal(later[0][1], seen[0][1][1])  # after a stop


def test_a_trunk_takes_images_and_activations(images):
    trunk = frozen()
    found = Activations(trunk, "layer1", images, AUGMENT, views=1).fill()
    pixels = found._drawn(0, torch.arange(10))
    before = trunk(pixels)
    found.serve(trunk)
    assert isinstance(trunk, CachedTrunk) and torch.equal(trunk(pixels), before)
    ((_, views),) = found.epoch([torch.arange(10)], CPU, 0, 0)
    torch.testing.assert_close(trunk(views[0]), before, rtol=1e-2, atol=1e-2)


def test_a_filling_that_was_stopped_goes_on_to_the_same_numbers(images, monkeypatch):
    whole = Activations(frozen(), "layer1", images, AUGMENT, views=2).fill()
    expected = kept(whole).copy()
    whole.path.unlink()
    stopped = Activations(frozen(), "layer1", images, AUGMENT, views=2)
    through, calls = stopped._through, []

    def stop(views):
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return through(views)

    monkeypatch.setattr(stopped, "_through", stop)
    with pytest.raises(KeyboardInterrupt):
        stopped.fill()
    assert json.loads(stopped.path.with_suffix(".json").read_text()) == {"done": 20}
    again, calls = Activations(frozen(), "layer1", images, AUGMENT, views=2), []
    through_again = again._through
    monkeypatch.setattr(again, "_through", lambda views: calls.append(len(views)) or through_again(views))
    again.fill()
    assert calls == [5, 10, 10, 5] and again.path == whole.path
    np.testing.assert_array_equal(kept(again), expected)
    calls.clear()
    again.fill()
    assert calls == []


def test_a_file_cut_short_is_made_anew(images):
    found = Activations(frozen(), "layer1", images, AUGMENT, views=1).fill()
    expected = kept(found).copy()
    found.path.write_bytes(found.path.read_bytes()[:100])
    np.testing.assert_array_equal(kept(found.fill()), expected)


def test_another_image_weight_stage_or_augmentation_is_another_cache(images):
    def path(trunk=None, up_to="layer1", images=images, augment=AUGMENT, views=1):
        return Activations(trunk or frozen(up_to), up_to, images, augment, views).path

    other = dataclasses.replace(images, images=images.images.clone())
    assert path() == path(images=other) == path(augment=dataclasses.replace(AUGMENT, views=1))
    other.images[3, 0, 0, 0] ^= 1
    weights = frozen(seed=1)
    found = [
        path(),
        path(images=other),
        path(weights),
        path(up_to="stem"),
        path(augment=AugmentConfig(flip=True)),
        path(views=2),
    ]
    assert len(set(found)) == len(found)
    upper = frozen()
    torch.nn.init.zeros_(upper.body.layer2[0].conv1.weight)  # above the frozen stages
    assert path(upper) == path()


def test_the_oldest_unused_cache_goes_where_room_is_short(images, monkeypatch):
    first, second = (Activations(frozen(seed=s), "layer1", images, AUGMENT, views=1).fill() for s in (0, 1))
    monkeypatch.setattr(activations, "LARGEST", 2.5 * first.bytes)
    os.utime(first.path.with_suffix(".json"), (1000, 2000))  # used after the other one
    os.utime(second.path.with_suffix(".json"), (1000, 1000))
    third = Activations(frozen(seed=2), "layer1", images, AUGMENT, views=1).fill()
    assert first.path.is_file() and third.path.is_file() and not second.path.exists()


def test_what_cannot_be_cached_is_one_sentence(images, monkeypatch, tmp_path):
    for message, changes in (
        ("is 1, must be at least augment.views, 2", {"augment": dataclasses.replace(AUGMENT, views=2)}),
        ("needs the images in memory", {"images": SimpleNamespace(resident=False)}),
    ):
        with pytest.raises(ConfigError, match=message):
            Activations(
                **{"trunk": frozen(), "up_to": "layer1", "images": images, "augment": AUGMENT, "views": 1} | changes
            )
    monkeypatch.setattr(activations, "LARGEST", 1000)
    with pytest.raises(ConfigError, match="and the limit is"):
        Activations(frozen(), "layer1", images, AUGMENT, views=9)
    monkeypatch.setattr(activations, "LARGEST", 1e9)
    (tmp_path / "activations").write_text("in the way")
    with pytest.raises(FglibError, match="cannot keep activations in .*free space"):
        Activations(frozen(), "layer1", images, AUGMENT, views=1).fill()
    with pytest.raises(ConfigError, match="cache_views is 2, must be 0 without train.freeze"):
        TrainConfig(epochs=1, batch_size=2, lr=0.1, cache_views=2)


@pytest.mark.parametrize("name", ["base_indi_eff", "grafit"])
def test_methods_train_on_them_and_a_stop_changes_nothing(images, name, tmp_path):
    settings = dataclasses.replace(CONFIG.train, epochs=3, freeze="layer1", freeze_bn=True, cache_views=4, lr=0.05)
    config = dataclasses.replace(
        CONFIG,
        method=dataclasses.replace(CONFIG.method, name=name),
        augment=AugmentConfig(views=2, pad_crop=2, flip=True),
        train=settings,
    )
    data = dataset()

    def trained(**how):
        method = start(config, data)
        return method, fit(method, training_view(config, data), config, **how)

    method, (progress, finished) = trained()
    assert finished and progress.history[-1]["total"] < progress.history[0]["total"]
    trained(checkpoint=tmp_path / "a.safetensors", epochs=1)
    again, _ = trained(checkpoint=tmp_path / "a.safetensors")
    for one, other in zip(method.state_dict().values(), again.state_dict().values()):
        assert torch.equal(one, other)


def test_a_method_that_looks_at_pixels_is_refused(images):
    settings = dataclasses.replace(CONFIG.train, freeze="layer1", cache_views=2)
    config = dataclasses.replace(CONFIG, method=dataclasses.replace(CONFIG.method, name="ws_dan"), train=settings)
    data = dataset()
    with pytest.raises(ConfigError, match="'ws_dan' looks at the pixels"):
        fit(start(config, data), training_view(config, data), config)
