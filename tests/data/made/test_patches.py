import zlib

import pytest
import torch

from fglib.data.made.patches import DARKEST, nested_patches, patches
from fglib.errors import ConfigError


def cut(images, mask):
    """The patch of each image, (n,3,side,side), from its mask."""
    side = int(mask[0].sum() ** 0.5)
    return images.permute(1, 0, 2, 3)[:, mask].reshape(3, len(mask), side, side).transpose(0, 1)


def test_the_papers_numbers():
    train, test = patches()
    for split in (train, test):
        assert split.images.shape == (512, 3, 64, 64)
        assert split.hierarchy.levels == ("big", "small")
        assert [split.hierarchy.num_classes(level) for level in ("big", "small")] == [32, 128]
        assert not split.hierarchy.nested
        assert len(split.labels("big").unique()) == 32
        assert len(split.labels("small").unique()) == 128
        assert len(torch.stack([split.labels("big"), split.labels("small")]).unique(dim=1).T) > 128  # crossed


@pytest.mark.parametrize(("size", "big", "small"), [(64, 24, 8), (32, 12, 4), (9, 3, 1)])
def test_masks_are_squares_that_do_not_overlap_and_hold_all_color(size, big, small):
    train, _ = patches(size, images=40)
    assert (train.masks["big"].sum(dim=(1, 2)) == big**2).all()
    assert (train.masks["small"].sum(dim=(1, 2)) == small**2).all()
    for level, side in (("big", big), ("small", small)):
        assert (train.masks[level].any(dim=1).sum(dim=1) == side).all()
    assert not (train.masks["big"] & train.masks["small"]).any()
    colored = (train.images >= DARKEST).all(dim=1)
    assert torch.equal(colored, train.masks["big"] | train.masks["small"])
    assert (train.images[~colored[:, None].expand_as(train.images)] == 0).all()


def test_a_class_is_one_patch_wherever_it_lies_and_in_both_splits():
    splits = patches(images=64, big=4, small=6)
    for level, count in (("big", 4), ("small", 6)):
        shown = torch.cat([cut(split.images, split.masks[level]) for split in splits]).flatten(1)
        labels = torch.cat([split.labels(level) for split in splits])
        pool = torch.stack([shown[labels == c][0] for c in range(count)])
        assert torch.equal(shown, pool[labels])
        assert len(pool.unique(dim=0)) == count


def test_small_patches_can_be_told_apart():
    train, _ = patches()
    shown = cut(train.images, train.masks["small"]).float().flatten(1)
    labels = train.labels("small")
    pool = torch.stack([shown[labels == c][0] for c in range(128)])
    distance = torch.cdist(pool, pool) / shown.shape[1] ** 0.5  # root mean square, in grey levels
    assert distance[~torch.eye(128, dtype=torch.bool)].min() > 15


def test_places_reach_every_corner():
    train, _ = patches(size=16, images=2000, big=2, small=2, big_size=4, small_size=2)
    for mask in train.masks.values():
        covered = mask.any(dim=0)
        assert covered.all()


@pytest.mark.parametrize("make", [patches, nested_patches])
def test_a_seed_fixes_everything_and_splits_differ(make):
    train, test = make(size=32, images=30, seed=3)
    again, _ = make(size=32, images=30, seed=3)
    assert torch.equal(train.images, again.images)
    assert all(torch.equal(train.labels(level), again.labels(level)) for level in train.visible)
    assert not torch.equal(train.images, test.images)
    assert not torch.equal(train.images, make(size=32, images=30, seed=4)[0].images)


def test_fewer_images_than_classes():
    train, _ = patches(images=10)
    assert train.hierarchy.num_classes("small") == 128
    assert len(train.labels("small").unique()) == 10  # no class twice before every class once


def test_nested_patches_are_a_tree():
    train, _ = nested_patches(classes=3, children=2, images=24, size=32)
    assert train.hierarchy.nested
    assert train.hierarchy.classes["small"] == ("small0", "small1", "small2", "small3", "small4", "small5")
    assert torch.equal(train.labels("big"), train.labels("small") // 2)
    assert len(train.labels("small").unique()) == 6


@pytest.mark.parametrize(("make", "expected"), [(patches, 255560707), (nested_patches, 341874028)])
def test_default_data_never_change(make, expected):
    """Recorded runs were trained on them."""
    crc = 0
    for split in make():
        for part in (split.images, *split.targets.values(), *split.masks.values()):
            crc = zlib.crc32(part.numpy().tobytes(), crc)
    assert crc == expected


def test_levels_above_the_big_patch_group_it_in_pairs():
    levels = ["order", "family", "genus", "species"]
    train, _ = nested_patches(size=32, classes=8, children=3, images=48, levels=levels)
    hierarchy = train.hierarchy
    assert [hierarchy.num_classes(level) for level in hierarchy.levels] == [2, 4, 8, 24]
    assert hierarchy.classes["family"] == ("family0", "family1", "family2", "family3")
    species = train.labels("species")
    for level, below in (("genus", 3), ("family", 6), ("order", 12)):
        assert torch.equal(train.labels(level), species // below)
        assert torch.equal(hierarchy.lift(species, "species", level), train.labels(level))
    plain, _ = nested_patches(size=32, classes=8, children=3, images=48)
    assert torch.equal(train.images, plain.images)  # names and groups change no pixel
    assert torch.equal(species, plain.labels("small"))
    assert torch.equal(train.labels("genus"), plain.labels("big"))
    assert list(train.masks) == ["big", "small"]


def test_an_odd_class_is_a_group_of_its_own():
    train, _ = nested_patches(size=32, classes=5, images=20, levels=("top", "mid", "leaf"))
    assert train.hierarchy.parents["mid"] == (0, 0, 1, 1, 2)


def test_clutter_lies_outside_of_the_exact_patches():
    plain, _ = nested_patches(classes=2, children=2, images=40)
    train, _ = nested_patches(classes=2, children=2, images=40, clutter=3)
    own = train.masks["big"] | train.masks["small"]
    area = ((train.images > 0).any(dim=1) & ~own).sum(dim=(1, 2))
    assert area.max() <= 3 * 8**2
    assert area.float().mean() > 1.5 * 8**2
    for level in ("big", "small"):
        pool = {c: cut(plain.images, plain.masks[level])[plain.labels(level) == c][0] for c in range(2)}
        shown = cut(train.images, train.masks[level])
        for c, patch in pool.items():
            assert (shown[train.labels(level) == c] == patch).all()


def test_noise_has_the_asked_spread():
    train, _ = nested_patches(images=40, noise=10.0)
    clean, _ = nested_patches(images=40)
    difference = train.images.float() - clean.images.float()
    inside = (clean.images > 100) & (clean.images < 200)  # nothing is cut at 0 or 255 there
    assert difference[inside].std().item() == pytest.approx(10, rel=0.05)
    assert abs(difference[inside].mean().item()) < 0.5
    assert torch.equal(train.masks["big"], clean.masks["big"])


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (patches, {"big_size": 60, "small_size": 5}, "do not fit side by side into 64 pixels"),
        (patches, {"size": 1}, "do not fit"),
        (patches, {"images": 0}, "images must be at least 1, got 0"),
        (patches, {"small_size": -8}, "small_size must be at least 1, got -8"),
        (patches, {"big_size": 0}, "big_size must be at least 1, got 0"),
        (nested_patches, {"children": 0}, "children must be at least 1"),
        (nested_patches, {"noise": -1.0}, "must not be negative"),
        (nested_patches, {"clutter": -1}, "must not be negative"),
        (nested_patches, {"levels": ["one"]}, r"two or more different names, coarse to fine, not \['one'\]"),
        (nested_patches, {"levels": ["a", "b", "a"]}, "two or more different names"),
        (nested_patches, {"levels": ["a", 2]}, "two or more different names"),
        (
            nested_patches,
            {"classes": 2, "levels": "abc"},
            "level 'a' would have a single class.*above 'b'.*more than 2",
        ),
        (nested_patches, {"classes": 4, "levels": "abcd"}, "level 'a' would have a single class"),
    ],
)
def test_impossible_patches_are_refused(make, options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)
