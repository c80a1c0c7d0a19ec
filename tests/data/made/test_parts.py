import pytest
import torch

from fglib.data.made.bird import ATTRIBUTES, FORMS, PARTS, shapes_there
from fglib.data.made.parts import (
    BODY_COLOURS,
    JITTER,
    SIDE,
    TELLING,
    VARIANTS,
    VISIBLE,
    _paint,
    part_attributes,
    parts,
)
from fglib.errors import ConfigError

# what the default data hold, training and test split
MODELS = [[8, 5, 3, 0, 7, 2], [5, 4, 6, 2, 0, 7]]
BOXES = [
    [[28.0, 11.0, 45.0, 38.0], [20.0, 9.0, 44.0, 25.0], [21.0, 28.0, 45.0, 47.0]],
    [[17.0, 6.0, 48.0, 21.0], [9.0, 27.0, 43.0, 47.0], [7.0, 1.0, 30.0, 33.0]],
]
MEANS = [[127.8, 126.7, 93.8], [125.5, 101.7, 141.2]]


@pytest.fixture(scope="module")
def train():
    return parts(48, images=120)[0]


def slow_box(mask):
    """(x0, y0, x1, y1) around one mask (H,W), half-open."""
    inside = [(x, y) for y, row in enumerate(mask.tolist()) for x, here in enumerate(row) if here]
    columns, rows = zip(*inside)
    return [min(columns), min(rows), max(columns) + 1, max(rows) + 1]


def test_boxes_are_tight_around_exact_masks(train):
    assert list(train.masks) == ["object", *PARTS]
    assert list(train.part_boxes) == list(PARTS)
    for i in range(20):
        assert train.boxes[i].tolist() == slow_box(train.masks["object"][i])
        for name in PARTS:
            assert train.part_boxes[name][i].tolist() == slow_box(train.masks[name][i])


def test_the_visible_parts_make_up_the_object_and_do_not_overlap(train):
    count = torch.stack([train.masks[name] for name in PARTS]).sum(dim=0)
    assert torch.equal(count == 1, train.masks["object"])
    assert count.max() == 1


@pytest.mark.parametrize("size", [24, 48])
def test_every_part_of_every_object_is_visible(size):
    for split in parts(size, images=200, seed=1):
        for name in PARTS:
            assert split.masks[name].sum(dim=(1, 2)).min() >= VISIBLE


def test_objects_have_the_asked_size_and_reach_every_side(train):
    side = (train.boxes[:, 2:] - train.boxes[:, :2]).amax(dim=1) / 48
    assert SIDE[0] - 2 / 48 <= side.min() < SIDE[0] + 0.05  # up to a pixel on each side goes by its center
    assert SIDE[1] - 0.05 < side.max() <= SIDE[1] + 1e-6
    assert train.boxes[:, :2].min(dim=0).values.max() <= 2
    assert train.boxes[:, 2:].max(dim=0).values.min() >= 46


def test_poses_are_mirrored(train):
    beak, tail = (train.part_boxes[name][:, 0] for name in ("beak", "tail"))
    assert 0.3 < (beak > tail).float().mean() < 0.7


def test_classes_are_a_tree_and_as_frequent_as_each_other(train):
    assert train.hierarchy.levels == ("kind", "model")
    assert train.hierarchy.classes["kind"] == ("kind0", "kind1", "kind2", "kind3")
    assert train.hierarchy.classes["model"][2:5] == ("kind0/model2", "kind1/model0", "kind1/model1")
    assert torch.bincount(train.labels("model")).tolist() == [10] * 12
    assert torch.equal(train.hierarchy.lift(train.labels("model"), "model", "kind"), train.labels("kind"))


def mean_colour(split, i, name):
    return split.images[i][:, split.masks[name][i]].double().mean(dim=1)


def test_the_telling_part_has_the_colour_of_the_model_and_the_body_that_of_the_kind():
    train, _ = parts(96, kinds=8, models=2, images=64, noise=0)
    without = ~(part_attributes(96, kinds=8, models=2, images=64, noise=0)[0].labels("spotted").bool())
    for i in range(64):
        kind, model = int(train.labels("kind")[i]), int(train.labels("model")[i])
        name = TELLING[kind % 4]
        shown = train.images[i][:, train.masks[name][i]]  # (3,m); eyes, bars and crests are black or white
        commonest = shown.T.unique(dim=0, return_counts=True)
        colour = commonest[0][commonest[1].argmax()]
        palette = VARIANTS.float()
        colour = colour / (colour.max() / palette[model % 2].max())  # out of the image's light
        assert (colour - palette).norm(dim=1).argmin() == model % 2
        if without[i]:
            body = mean_colour(train, i, "body")
            direction = torch.nn.functional.cosine_similarity(body[None], BODY_COLOURS.double())
            assert direction[kind] > 0.98


def repaint(variant, size=48, **changes):
    n = len(variant)
    options = {"clutter": 5, "noise": 8.0, "kind": torch.arange(n) % 4, "has": torch.zeros(n, 6, dtype=torch.bool)}
    options |= changes
    draw = torch.Generator().manual_seed(0)
    return _paint(size, options["kind"], variant, options["has"], options["clutter"], options["noise"], draw)


@pytest.mark.parametrize("name", ["tail", "legs", "wing", "head", "beak"])
def test_another_colour_of_a_part_changes_no_pixel_beside_it(name):
    variant = torch.zeros(8, len(PARTS), dtype=torch.long)
    other = variant.clone()
    other[:, PARTS.index(name)] = 2
    (before, masks), (after, same) = repaint(variant), repaint(other)
    assert all(torch.equal(masks[key], same[key]) for key in masks)
    differs = (before != after).any(dim=1)
    assert not (differs & ~masks[name]).any()
    assert (differs & masks[name]).sum() > 0.9 * masks[name].sum()


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_changes_the_shapes_of_one_part(name):
    has = torch.zeros(1, len(ATTRIBUTES), dtype=torch.bool)
    without = shapes_there(has)[0]
    has[0, ATTRIBUTES.index(name)] = True
    with_it = shapes_there(has)[0]
    expected = {
        "crest": (0, 1),  # shapes that go and shapes that come
        "long_tail": (1, 1),
        "tail_band": (0, 1),
        "long_legs": (2, 2),
        "wing_bar": (0, 1),
        "spotted": (0, 5),
    }
    assert ((without & ~with_it).sum().item(), (with_it & ~without).sum().item()) == expected[name]
    assert len(without) == len(FORMS)


@pytest.mark.parametrize("name", ["crest", "tail_band", "wing_bar", "spotted"])
def test_markings_show_and_leave_the_part_recognizable(name):
    """They lie on a part, or widen it, and cover less than half of it."""
    has = torch.zeros(8, len(ATTRIBUTES), dtype=torch.bool)
    has[:, ATTRIBUTES.index(name)] = True
    variant = torch.zeros(8, len(PARTS), dtype=torch.long)
    images, masks = repaint(variant, 96, has=has, noise=0.0)
    part = {"crest": "head", "tail_band": "tail", "wing_bar": "wing", "spotted": "body"}[name]
    for i in range(8):
        colours, counts = images[i][:, masks[part][i]].T.unique(dim=0, return_counts=True)
        assert 2 <= len(colours) <= 3  # rounding is after the light, so each paint is one colour
        assert counts.max() > 0.5 * counts.sum()
        assert counts.sum() - counts.max() > 0.05 * counts.sum()


def test_attributes_are_balanced_labels_of_the_same_images(train):
    labelled, _ = part_attributes(48, images=120)
    assert torch.equal(labelled.images, train.images)
    assert torch.equal(labelled.boxes, train.boxes)
    assert labelled.hierarchy.levels == ATTRIBUTES
    assert not labelled.hierarchy.nested
    for name in ATTRIBUTES:
        assert labelled.hierarchy.classes[name] == ("no", "yes")
        assert torch.bincount(labelled.labels(name)).tolist() == [60, 60]
    legs = train.part_boxes["legs"][:, 3] - train.part_boxes["legs"][:, 1]
    side = (train.boxes[:, 2:] - train.boxes[:, :2]).amax(dim=1)
    long = labelled.labels("long_legs").bool()
    assert (legs / side)[long].mean() > 1.2 * (legs / side)[~long].mean()


def test_attributes_say_nothing_about_the_class_or_each_other():
    options = {"images": 600, "test_images": 1, "seed": 2}
    labelled, _ = part_attributes(32, **options)
    model = parts(32, **options)[0].labels("model")
    columns = [labelled.labels(name).double() for name in ATTRIBUTES] + [(model == c).double() for c in (0, 5)]
    related = torch.corrcoef(torch.stack(columns))[:6].fill_diagonal_(0.0)
    assert related.abs().max() < 0.16  # 4 standard deviations


def test_clutter_and_noise():
    variant = torch.zeros(4, len(PARTS), dtype=torch.long)
    (plain, masks), (cluttered, same) = (repaint(variant, clutter=count, noise=0.0) for count in (0, 9))
    assert torch.equal(masks["object"], same["object"])  # drawn over the clutter
    edges = [(images[..., 1:].int() - images[..., :-1].int()).abs().amax(dim=1) > 30 for images in (plain, cluttered)]
    beside = ~(masks["object"][..., 1:] | masks["object"][..., :-1])
    assert not (edges[0] & beside).any()  # a plain background is smooth
    assert (edges[1] & beside).sum() > 50
    noisy, _ = repaint(variant, clutter=0, noise=10.0)
    difference = noisy.float() - plain.float()
    middle = (plain > 60) & (plain < 200)
    assert difference[middle].std().item() == pytest.approx(10, rel=0.05)


def test_a_seed_fixes_everything_and_splits_differ(train):
    again, test = parts(48, images=120)
    assert torch.equal(train.images, again.images)
    assert torch.equal(train.labels("model"), again.labels("model"))
    assert not torch.equal(train.images, test.images)
    assert not torch.equal(train.images, parts(48, images=120, seed=1)[0].images)
    few, other = parts(48, images=120, test_images=7)
    assert torch.equal(few.images, train.images)
    assert len(other) == 7


def test_default_data_never_change():
    """Recorded runs were trained on them. Rounding may move a pixel on another machine, so not to the last bit."""
    for split, model, box, mean in zip(parts(48, images=24), MODELS, BOXES, MEANS):
        assert split.labels("model")[:6].tolist() == model
        assert (split.boxes[:3] - torch.tensor(box)).abs().max() <= 1
        assert split.images[:3].double().mean(dim=(1, 2, 3)).tolist() == pytest.approx(mean, abs=0.5)


def test_colours_can_be_told_apart():
    for palette in (BODY_COLOURS, VARIANTS):
        distance = torch.cdist(palette.double(), palette.double()).fill_diagonal_(255.0)
        assert distance.min() > 2 * JITTER


@pytest.mark.parametrize("make", [parts, part_attributes])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 23}, "size must be at least 24 pixels, or parts get lost, got 23"),
        ({"kinds": 0}, "kinds must lie between 1 and 8, the colours of a body, got 0"),
        ({"kinds": 9}, "kinds must lie between 1 and 8"),
        ({"models": 1}, "models must lie between 2 and 6, the colours of a part, got 1"),
        ({"models": 7}, "models must lie between 2 and 6"),
        ({"images": 0}, "images must be at least 1, got 0"),
        ({"test_images": 0}, "test_images must be at least 1, got 0"),
        ({"clutter": -1}, "must not be negative, got -1 and 8.0"),
        ({"noise": -0.5}, "must not be negative, got 12 and -0.5"),
    ],
)
def test_impossible_sets_are_refused(make, options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)
