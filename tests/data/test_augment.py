"""Views: per image, in range, repeatable, and the identity when nothing is asked for."""

import torch

from fglib.config import AugmentConfig
from fglib.data.augment import Augment

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
