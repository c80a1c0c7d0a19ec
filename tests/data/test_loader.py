"""Batches: every image once an epoch, the same order for the same seed, resident and streamed alike."""

import dataclasses

import pytest
import torch
from tiny import CONFIG, dataset

from fglib.config import AugmentConfig
from fglib.data.augment import Augment
from fglib.data.folder import read_folder
from fglib.data.loader import epoch_batches, in_order, load_batches, load_views
from fglib.errors import DataError


def test_an_epoch_holds_every_image_once_and_its_order_depends_on_seed_and_epoch_alone():
    batches = epoch_batches(50, 8, seed=3, epoch=7)
    assert sorted(torch.cat(batches).tolist()) == list(range(50)) and [len(b) for b in batches] == [8] * 6 + [2]
    torch.manual_seed(0)
    again = epoch_batches(50, 8, seed=3, epoch=7)
    assert all(torch.equal(a, b) for a, b in zip(batches, again))
    for other in (epoch_batches(50, 8, seed=4, epoch=7), epoch_batches(50, 8, seed=3, epoch=8)):
        assert not torch.equal(torch.cat(batches), torch.cat(other))


def test_a_single_left_over_image_is_dropped_but_a_single_batch_is_kept():
    assert [len(b) for b in epoch_batches(17, 8, 0, 0)] == [8, 8]
    assert [len(b) for b in epoch_batches(1, 8, 0, 0)] == [1]


def test_streamed_batches_equal_resident_ones(tmp_path, write_image):
    for split in ("train",):
        for i, name in enumerate(("a/x/0.png", "a/x/1.png", "a/y/0.png", "b/z/0.png", "b/z/1.png")):
            write_image(tmp_path / split / name, color=(40 * i, 200 - 10 * i, 7), size=(12, 10))
    resident = read_folder(tmp_path, "train", ("coarse", "fine"), 8, resident=True)
    streamed = read_folder(tmp_path, "train", ("coarse", "fine"), 8, resident=False)
    assert resident.resident and not streamed.resident and streamed.image_size == resident.image_size == (8, 8)
    batches = epoch_batches(5, 2, seed=0, epoch=0)
    device = torch.device("cpu")
    for (i, x), (j, y) in zip(load_batches(resident, batches, device), load_batches(streamed, batches, device)):
        assert torch.equal(i, j) and torch.equal(x, y) and y.dtype == torch.uint8
    assert torch.equal(resident.pixels(torch.tensor([3, 1])), streamed.pixels(torch.tensor([3, 1])))
    assert streamed.to(device) is streamed


def test_an_image_keeps_its_index():
    train = dataset().train
    for index, pixels in load_batches(train, epoch_batches(len(train), 4, 1, 1), torch.device("cpu")):
        assert torch.equal(pixels, train.images[index])
    assert torch.cat(in_order(7, 3)).tolist() == list(range(7))


def test_views_of_a_resident_set_are_those_of_its_batches_in_turn():
    train, device = dataset().train, torch.device("cpu")
    batches = epoch_batches(len(train), 8, CONFIG.seed, 0)
    torch.manual_seed(7)
    found = list(load_views(train, batches, device, CONFIG, 0))
    torch.manual_seed(7)
    augment = Augment(CONFIG.augment, train.image_size)
    for (index, views), batch in zip(found, batches, strict=True):
        assert torch.equal(index, batch) and torch.equal(views, augment(train.images[batch]))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_worker_says_what_is_wrong_with_an_image_in_one_sentence(tmp_path, write_image, workers):
    for i in range(3):
        write_image(tmp_path / f"train/a/{i}.png")
    images = read_folder(tmp_path, "train", ["class"], 8, resident=False)
    (tmp_path / "train/a/1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"^cannot decode image [^ ]*1\.png \(.*\(skip_corrupt=True\)$"):
        list(load_batches(images, in_order(3, 2), torch.device("cpu"), workers))


@pytest.mark.parametrize("resident", [True, False])
def test_training_runs_on_both(tmp_path, write_image, resident):
    from fglib.data.images import DataSet
    from fglib.lab.run import start, training_view
    from fglib.train import fit

    for i in range(8):
        write_image(tmp_path / f"train/{'ab'[i % 2]}/{i % 4}/{i}.png", color=(30 * i, 90, 200 - 9 * i), size=(12, 10))
    train = read_folder(tmp_path, "train", ("big", "small"), 8, resident=resident, qualify=True)
    data = DataSet("mine", train, train)
    config = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, epochs=2, batch_size=4))
    progress, finished = fit(start(config, data), training_view(config, data), config)
    assert finished and len(progress.history) == 2


@pytest.mark.parametrize("resident", [True, False])
def test_views_can_be_smaller_than_the_images_that_are_measured(tmp_path, write_image, resident):
    for i in range(4):
        write_image(tmp_path / f"train/{'ab'[i % 2]}/{i}.png", color=(60 * i, 90, 0), size=(24, 24))
    images = read_folder(tmp_path, "train", ["class"], 20, resident=resident)
    augment = AugmentConfig(views=2, resized_crop=(0.3, 1.0), size=12)
    config = dataclasses.replace(CONFIG, augment=augment)
    ((index, views),) = load_views(images, in_order(4, 4), torch.device("cpu"), config, 0, workers=0)
    assert views.shape == (2, 4, 3, 12, 12) and images.image_size == (20, 20)
    red = images.pixels(index)[:, 0].float().mean((1, 2)) / 255
    torch.testing.assert_close(views[:, :, 0].mean((0, 2, 3)), red, rtol=0, atol=0.01)  # each image is of one colour
