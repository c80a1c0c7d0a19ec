"""Views: per image, in range, repeatable, and the identity when nothing is asked for."""

import pytest
import torch

from fglib.config import AugmentConfig
from fglib.data.augment import Augment, RandAugment
from fglib.errors import ConfigError

IMAGES = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_nothing_asked_for_is_the_image_itself_for_every_view():
    views = Augment(AugmentConfig(views=3), (16, 16))(IMAGES)
    assert views.shape == (3, 6, 3, 16, 16)
    assert all(torch.equal(v, IMAGES.float() / 255) for v in views)


def test_a_padded_crop_is_a_window_of_the_zero_padded_image():
    torch.manual_seed(1)
    views = Augment(AugmentConfig(pad_crop=2), (16, 16))(IMAGES)[0]
    padded = torch.nn.functional.pad(IMAGES.float() / 255, (2, 2, 2, 2))
    offsets = set()
    for image, view in zip(padded, views):
        hits = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if torch.allclose(image[:, y : y + 16, x : x + 16], view, atol=1e-6)
        ]
        assert len(hits) == 1
        offsets.add(hits[0])
    assert len(offsets) > 1  # drawn per image, not per batch


def test_flips_are_mirror_images_drawn_per_image():
    torch.manual_seed(0)
    views = Augment(AugmentConfig(flip=True), (16, 16))(IMAGES)[0]
    plain = IMAGES.float() / 255
    flipped = [torch.allclose(v, p.flip(-1), atol=1e-6) for v, p in zip(views, plain)]
    same = [torch.allclose(v, p, atol=1e-6) for v, p in zip(views, plain)]
    assert all(f != s for f, s in zip(flipped, same)) and any(flipped) and any(same)


def test_affine_views_differ_stay_in_range_and_repeat_with_the_seed():
    augment = Augment(AugmentConfig(views=2, degrees=10.0, translate=0.1, scale=(0.9, 1.1)), (16, 16))
    torch.manual_seed(5)
    views = augment(IMAGES)
    assert views.min() >= 0 and views.max() <= 1 and not torch.equal(views[0], views[1])
    torch.manual_seed(5)
    assert torch.equal(views, augment(IMAGES))


H, W = 32, 40
RAMPS = torch.stack(
    [torch.linspace(0, 255, W).expand(H, W), torch.linspace(0, 255, H)[:, None].expand(H, W), torch.full((H, W), 255)]
).byte()  # x, y and white


def shown(views):
    """Part of the width and of the height (B,) that is seen in views of RAMPS."""
    return [views[:, channel].amax((1, 2)) - views[:, channel].amin((1, 2)) for channel in (0, 1)]


def test_a_resized_crop_keeps_a_part_of_the_area_and_fills_the_image_with_it():
    torch.manual_seed(0)
    views = Augment(AugmentConfig(resized_crop=(0.3, 0.5)), (H, W))(RAMPS.expand(200, -1, -1, -1))[0]
    assert views.shape == (200, 3, H, W) and (views[:, 2] > 0.9999).all()  # nothing from beyond the image
    width, height = shown(views)
    # a window of whole pixels is up to one pixel larger or smaller than its part
    assert ((width * height > 0.3 - 0.04) & (width * height < 0.5 + 0.04)).all()
    assert (width * height).std() > 0.03
    aspect = width * W / (height * H)
    assert aspect.min() > 0.65 and aspect.max() < 1.5 and aspect.std() > 0.1
    assert (views[:, 0].diff(dim=2) > -1e-6).all() and (
        views[:, 1].diff(dim=1) > -1e-6
    ).all()  # neither turned nor flipped
    centers = views[:, :2].mean((2, 3))
    assert (centers.std(0) > 0.05).all()


def test_a_resized_crop_of_the_whole_area_shows_the_whole_image():
    rows = RAMPS[1, :, :H]
    square = torch.stack([rows.T, rows, rows])
    views = Augment(AugmentConfig(resized_crop=(1.0, 1.0)), (H, H))(square.expand(50, -1, -1, -1))[0]
    width, height = shown(views)
    assert width.min() > 0.96 and height.min() > 0.96  # of 32 pixels, one may be lost


def test_erasing_blackens_one_rectangle_of_some_images():
    torch.manual_seed(0)
    white = torch.full((200, 3, 16, 16), 255, dtype=torch.uint8)
    views = Augment(AugmentConfig(erasing=0.25), (16, 16))(white)[0]
    assert set(views.unique().tolist()) == {0.0, 1.0}
    erased = (views == 0).any(1)  # (B, H, W)
    assert 0.15 < erased.flatten(1).any(1).float().mean() < 0.35
    rectangles = set()
    for mask in erased[erased.flatten(1).any(1)]:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        corners = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
        assert mask[corners[0] : corners[1] + 1, corners[2] : corners[3] + 1].all()
        rectangles.add(corners)
    assert len(rectangles) > 10


@pytest.mark.parametrize(("operations", "magnitude"), [(1, 9.0), (2, 29.9), (15, 15.0), (3, 0.1)])
def test_randaugment_stays_in_range_and_draws_for_every_group(operations, magnitude):
    augment = Augment(AugmentConfig(views=2, randaugment=(operations, magnitude)), (16, 16))
    n = 4 * RandAugment.group + 3  # the last group is a short one
    torch.manual_seed(0)
    views = augment(IMAGES[:1].expand(n, -1, -1, -1))
    assert views.shape == (2, n, 3, 16, 16) and views.isfinite().all() and views.min() >= 0 and views.max() <= 1
    assert not torch.equal(views[0], views[1])
    assert len({tuple(v.flatten().tolist()) for v in views[0, :: RandAugment.group]}) > 2


def test_randaugment_gives_every_image_back_in_its_place():
    augment = RandAugment(2, 9.0)
    augment.augment = torch.nn.Identity()
    pixels = torch.rand(2 * RandAugment.group + 5, 3, 4, 4)
    assert torch.equal(augment(pixels), pixels)


STRONG = AugmentConfig(views=2, resized_crop=(0.2, 1.0), flip=True, randaugment=(2, 9.0), erasing=0.5)


def test_the_papers_pipeline_varies_per_image_stays_in_range_and_repeats_with_the_seed():
    augment = Augment(STRONG, (16, 16))
    same = IMAGES[:1].expand(24, -1, -1, -1)
    for seed in range(20):
        torch.manual_seed(seed)
        views = augment(same)
        assert views.shape == (2, 24, 3, 16, 16) and views.dtype == torch.float32
        assert views.isfinite().all() and views.min() >= 0 and views.max() <= 1
        torch.manual_seed(seed)
        assert torch.equal(views, augment(same))
    assert len({tuple(v.flatten().tolist()) for v in views.flatten(0, 1)}) == 48


@pytest.mark.parametrize("change", [{"resized_crop": (0.5, 1.0)}, {"randaugment": (1, 9.0)}])
def test_a_step_that_leaves_the_range_by_a_digit_is_brought_back(change):
    augment = Augment(AugmentConfig(**change), (16, 16))
    augment.steps[0] = torch.nn.Threshold(2.0, 1.0000001)  # turns everything into this
    assert (augment(IMAGES) == 1).all()


@pytest.mark.parametrize(
    "change",
    [
        {"views": 0},
        {"resized_crop": (0.5, 0.2)},
        {"resized_crop": (0.0, 1.0)},
        {"resized_crop": (-0.2, 1.0)},
        {"resized_crop": (0.2, 1.5)},
        {"resized_crop": (float("nan"), 1.0)},
        {"erasing": 1.5},
        {"erasing": -0.1},
        {"randaugment": (0, 9.0)},
        {"randaugment": (16, 9.0)},
        {"randaugment": (2, 0.0)},
        {"randaugment": (2, 30.0)},
    ],
)
def test_values_that_cannot_be_are_named(change):
    (name,) = change
    with pytest.raises(ConfigError, match=rf"augment\.{name} is "):
        Augment(AugmentConfig(**change), (16, 16))
