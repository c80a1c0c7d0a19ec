"""Streamed views: the same from any number of workers and after a stop, and each step as it is defined."""

import dataclasses
import time

import pytest
import torch
from PIL import Image
from tiny import CONFIG
from torchvision.transforms import v2

from fglib.config import AugmentConfig, DataConfig, MethodConfig
from fglib.data.folder import read_folder
from fglib.data.images import DataSet
from fglib.data.loader import epoch_batches, load_views
from fglib.data.stream import RandomViews
from fglib.lab.run import start, training_view
from fglib.train import fit

SINGLE = {
    "pad_crop": 2,
    "flip": True,
    "degrees": 30.0,
    "translate": 0.2,
    "scale": (0.7, 1.4),
    "resized_crop": (0.2, 0.9),
    "randaugment": (2, 9.0),
    "erasing": 0.5,
}
EVERYTHING = AugmentConfig(views=2, **SINGLE)
CPU = torch.device("cpu")


def noise(*shape, low=0):
    return torch.randint(low, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def copies(n, image):
    return image.expand(n, -1, -1, -1)


def views_of(images, seed=0, epoch=0, **steps):
    """The first view of every image, (n, 3, H, W) uint8."""
    drawn = RandomViews(images, AugmentConfig(**steps), seed, epoch)
    return torch.stack([drawn[i][0] for i in range(len(drawn))])


@pytest.fixture
def shop(tmp_path):
    """Twelve images of noise in three classes, decoded when asked for."""
    images = noise(12, 3, 16, 16)
    for i, image in enumerate(images):
        path = tmp_path / "train" / f"class{i // 4}" / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return read_folder(tmp_path, "train", ["class"], 16, resident=False), images


def loaded(images, augment, epoch=0, first=0, workers=0):
    config = dataclasses.replace(CONFIG, augment=augment)
    batches = epoch_batches(12, 4, config.seed, epoch)[first:]
    return list(load_views(images, batches, CPU, config, epoch, workers))


def test_without_steps_every_view_is_the_image_itself(shop):
    for index, views in loaded(shop[0], AugmentConfig(views=3), workers=1):
        assert views.shape == (3, 4, 3, 16, 16) and views.dtype == torch.float32 and views.is_contiguous()
        assert all(torch.equal(view, shop[1][index].float() / 255) for view in views)


def test_views_are_the_same_from_any_number_of_workers_and_when_an_epoch_goes_on(shop):
    expected = loaded(shop[0], EVERYTHING, epoch=3)
    assert len(expected) == 3
    for workers in (0, 1, 2):
        for first in (0, 2):
            torch.manual_seed(10 * workers + first)
            before = torch.get_rng_state()
            found = loaded(shop[0], EVERYTHING, 3, first, workers)
            assert torch.equal(before, torch.get_rng_state())  # the network's own draws are left alone
            assert len(found) == 3 - first
            for (i, x), (j, y) in zip(expected[first:], found):
                assert torch.equal(i, j) and torch.equal(x, y)


def test_views_lie_in_range_and_differ_between_views_images_epochs_and_seeds(shop):
    for _, views in loaded(shop[0], EVERYTHING):
        assert views.shape == (2, 4, 3, 16, 16) and views.min() >= 0 and views.max() <= 1
    images = copies(2, noise(3, 16, 16))
    drawn = [RandomViews(images, EVERYTHING, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    views = torch.cat([one[i] for one in drawn for i in range(2)])
    assert len(views) == 12 and len(views.unique(dim=0)) == 12


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(AugmentConfig)])
def test_every_option_of_the_configuration_has_its_effect(name):
    if name in ("views", "size"):
        return
    images = noise(8, 3, 16, 16)
    assert not torch.equal(views_of(images, **{name: SINGLE[name]}), images)


def test_steps_come_in_the_order_of_augment():
    drawn = RandomViews(noise(1, 3, 16, 16), EVERYTHING, 0, 0)
    # the affine step is the library's own
    names = ["RandomResizedCrop", "RandomCrop", "RandomHorizontalFlip", "Lambda", "RandAugment", "RandomErasing"]
    assert [type(step).__name__ for step in drawn.steps] == names


def test_shifts_and_flips_are_windows_of_the_zero_padded_image_each_as_often():
    image = noise(3, 8, 8, low=1)
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
    windows = [padded[:, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
    windows = torch.stack(windows + [w.flip(2) for w in windows])
    views = views_of(copies(1000, image), pad_crop=2, flip=True)
    hits = (views[:, None] == windows).all(dim=(2, 3, 4))
    assert (hits.sum(1) == 1).all()
    counts = hits.sum(0)  # 20 of each expected; chi-squared of 49 degrees of freedom, beyond 100 once in 20,000 seeds
    assert ((counts - 20) ** 2 / 20).sum() < 100
    assert abs(counts[25:].sum() - 500) < 70


def test_a_resized_crop_keeps_its_part_of_the_area_and_fills_the_image():
    x, y = torch.linspace(0, 255, 40).expand(32, 40), torch.linspace(0, 255, 32)[:, None].expand(32, 40)
    ramps = torch.stack([x, y, torch.full((32, 40), 255)]).round().byte()
    views = views_of(copies(200, ramps), resized_crop=(0.3, 0.5)).float() / 255
    assert views.shape == (200, 3, 32, 40) and (views[:, 2] == 1).all()
    width, height = (views[:, c].amax((1, 2)) - views[:, c].amin((1, 2)) for c in (0, 1))
    area, aspect = width * height, width * 40 / (height * 32)
    assert area.min() > 0.24 and area.max() < 0.52 and area.std() > 0.03
    assert aspect.min() > 0.65 and aspect.max() < 1.55 and aspect.std() > 0.1


def test_every_second_image_moves_and_its_border_goes_on():
    images = noise(400, 3, 12, 12)
    moved = views_of(images, degrees=20.0, translate=0.1, scale=(0.8, 1.2)) != images
    assert abs(moved.any(dim=(1, 2, 3)).sum() - 200) < 45
    white = copies(20, torch.full((3, 12, 12), 255, dtype=torch.uint8))
    assert (views_of(white, degrees=40.0, translate=0.3, scale=(0.5, 2.0)) == 255).all()


def test_some_images_lose_a_rectangle_of_some_share_and_shape():
    images = copies(600, torch.full((3, 50, 50), 200, dtype=torch.uint8))
    views = views_of(images, erasing=0.25)
    black = (views == 0).all(1)
    assert ((views == 200).all(1) ^ black).all()
    rows, columns = black.any(2).sum(1), black.any(1).sum(1)
    assert torch.equal(rows * columns, black.sum((1, 2)))  # a whole rectangle
    hit = rows > 0
    assert abs(hit.sum() - 150) < 45
    share, shape = black.sum((1, 2))[hit] / 2500, rows[hit] / columns[hit]
    assert share.min() > 0.015 and share.max() < 0.345 and share.std() > 0.05
    assert shape.min() > 0.25 and shape.max() < 4 and 0.35 < (shape > 1).float().mean() < 0.65


def test_randaugment_is_torchvisions_at_the_magnitude_and_at_those_between():
    images, bilinear = noise(40, 3, 16, 16), v2.InterpolationMode.BILINEAR
    theirs = RandomViews(images, AugmentConfig(), 0, 0)
    theirs.steps = v2.RandAugment(3, 9, interpolation=bilinear)
    views = views_of(images, randaugment=(3, 9.0))
    assert torch.equal(views, torch.stack([theirs[i][0] for i in range(40)]))
    theirs.steps = v2.RandAugment(3, 19, num_magnitude_bins=61, interpolation=bilinear)
    views = views_of(images, randaugment=(3, 9.5))
    assert torch.equal(views, torch.stack([theirs[i][0] for i in range(40)]))
    views_of(images, randaugment=(1, 29.999))  # the last bin


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(shop, tmp_path):
    """The diversification block draws in the main process, in between."""
    data = DataSet("shop", shop[0], shop[0])
    settings = dataclasses.replace(CONFIG.train, epochs=2, batch_size=4)
    names = DataConfig("shop", "class", "class")
    config = dataclasses.replace(CONFIG, data=names, method=MethodConfig("db"), augment=EVERYTHING, train=settings)
    path, found = tmp_path / "run.safetensors", []

    def go_on(**how):
        method = start(config, data)
        progress, finished = fit(method, training_view(config, data), config, **how)
        found.append((torch.cat([t.flatten().float() for t in method.state_dict().values()]), progress.history))
        return finished

    assert go_on()
    calls = 1
    while not go_on(checkpoint=path, deadline=time.monotonic() - 1):  # a step at a time
        calls += 1
    assert calls == 6
    assert torch.equal(found[0][0], found[-1][0]) and found[0][1] == found[-1][1]
