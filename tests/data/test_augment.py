"""Views: per image, in range, repeatable, and the identity when nothing is asked for."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fglib.config import AugmentConfig
from fglib.data import augment as augment_module
from fglib.data.augment import Affine, Augment, Erasing, ResizedCrop
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


def rectangles(masks):
    """First and last row, first and last column of what is true in each of masks (n, H, W)."""
    for mask in masks:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        yield rows[0].item(), rows[-1].item(), columns[0].item(), columns[-1].item()


def test_erasing_blackens_one_rectangle_of_some_images():
    torch.manual_seed(0)
    white = torch.full((200, 3, 16, 16), 255, dtype=torch.uint8)
    views = Augment(AugmentConfig(erasing=0.25), (16, 16))(white)[0]
    assert set(views.unique().tolist()) == {0.0, 1.0}
    erased = (views == 0).any(1)  # (B, H, W)
    assert 0.15 < erased.flatten(1).any(1).float().mean() < 0.35
    masks = erased[erased.flatten(1).any(1)]
    corners = list(rectangles(masks))
    assert all(mask[a : b + 1, c : d + 1].all() for mask, (a, b, c, d) in zip(masks, corners))
    assert len(set(corners)) > 10


def test_erased_rectangles_have_the_areas_and_aspects_of_the_paper_and_lie_anywhere():
    torch.manual_seed(0)
    erased = Erasing(1.0)(torch.ones(2000, 1, 60, 40))[:, 0] == 0
    area = erased.float().mean((1, 2))
    assert area.min() > 0.015 and area.max() < 0.34 and abs(area.mean() - 0.175) < 0.01
    corners = torch.tensor(list(rectangles(erased)))
    height, width = corners[:, 1] - corners[:, 0] + 1, corners[:, 3] - corners[:, 2] + 1
    uncut = (height < 60) & (width < 40) & (height * width > 100)  # of few pixels, rounding changes the aspect
    aspect = (height / width)[uncut]
    assert 0.25 < aspect.min() < 0.35 and 2.8 < aspect.max() < 3.8
    assert 0.4 < (aspect > 1).float().mean() < 0.6
    assert corners.amin(0).tolist()[::2] == [0, 0] and corners.amax(0).tolist()[1::2] == [59, 39]


def test_no_image_and_every_image_can_be_erased():
    white = torch.ones(50, 3, 3, 3)  # so few pixels that rounding would leave nothing of some rectangles
    assert (Erasing(0.0)(white) == 1).all() and ((Erasing(1.0)(white) == 0).sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize(("height", "width", "seen"), [(8, 64, (8, 11)), (64, 8, (11, 8)), (1, 1, (1, 1))])
def test_a_crop_that_no_draw_fits_is_the_largest_of_its_shape(height, width, seen):
    x, y = torch.arange(width).float().expand(height, -1), torch.arange(height).float()[:, None].expand(-1, width)
    crops = ResizedCrop((16, 16), (1.0, 1.0))(torch.stack((y, x)).expand(50, -1, -1, -1))
    extent = crops.amax((2, 3)) - crops.amin((2, 3)) + 1
    assert torch.allclose(extent, torch.tensor(seen).float().expand(50, -1), atol=1e-3)
    assert torch.allclose(crops.amin((2, 3)), crops.amin((2, 3)).round(), atol=1e-3)  # whole pixels


def test_a_crop_lies_anywhere_in_the_image():
    x = torch.arange(13).float().expand(1, 8, -1)
    crops = ResizedCrop((8, 13), (1.0, 1.0))(x.expand(100, -1, -1, -1))  # of 11 columns
    assert set(crops.amin((1, 2, 3)).round().tolist()) == {0, 1, 2}


def place(i, k, shape, angle, zoom, right, down):
    """Where the pixel in row i, column k of an image that was turned, zoomed and shifted comes from: row, column."""
    middle = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    x, y = (k - middle[1] - right) / zoom, (i - middle[0] - down) / zoom
    cos, sin = math.cos(angle), math.sin(angle)
    return middle[0] - sin * x + cos * y, middle[1] + cos * x + sin * y


@pytest.mark.parametrize(
    ("angle", "zoom", "right", "down"), [(0.3, 1.0, 0.0, 0.0), (0.0, 1.3, 0.0, 0.0), (-0.2, 0.8, 2.0, -1.4)]
)
def test_an_affine_view_is_turned_zoomed_and_shifted_pixel_by_pixel(monkeypatch, angle, zoom, right, down):
    height, width = 7, 10
    drawn = iter([angle, zoom, right / width, down / height])
    monkeypatch.setattr(augment_module, "_uniform", lambda low, high, pixels: torch.full((2,), next(drawn)))
    monkeypatch.setattr(augment_module, "_chance", lambda probability, pixels: torch.tensor([True, False]))
    image = torch.rand(2, height, width, generator=torch.Generator().manual_seed(0))
    view, same = Affine(30.0, 0.2, (0.5, 2.0))(image.expand(2, -1, -1, -1))
    assert torch.equal(same, image)
    wanted = torch.empty(2, height, width)
    for i in range(height):
        for k in range(width):
            row, column = place(i, k, (height, width), angle, zoom, right, down)
            row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)  # the border goes on
            top, left = min(int(row), height - 2), min(int(column), width - 2)
            v, u = row - top, column - left
            wanted[:, i, k] = (1 - v) * ((1 - u) * image[:, top, left] + u * image[:, top, left + 1]) + v * (
                (1 - u) * image[:, top + 1, left] + u * image[:, top + 1, left + 1]
            )
    assert torch.allclose(view, wanted, atol=1e-5)


def test_half_of_the_images_keep_their_place_and_the_others_draw_from_the_whole_range():
    torch.manual_seed(0)
    n, side = 2000, 21
    ramps = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).float() - 10
    views = Affine(40.0, 0.2, (0.8, 1.25))(ramps.expand(n, -1, -1, -1))
    moved = (views != ramps).flatten(1).any(1)
    assert 0.45 < moved.float().mean() < 0.55
    # the place and its slopes at the centre give the draw back; the ramps end at 10
    y, x = views[moved, :, 10, 10].T
    along_x = views[moved, :, 10, 11] - views[moved, :, 10, 10]  # (n, 2): change of y and of x
    angle, zoom = torch.rad2deg(torch.atan2(-along_x[:, 0], along_x[:, 1])), 1 / along_x.norm(dim=1)
    down, right = (
        -(torch.cos(a := torch.deg2rad(angle)) * y + torch.sin(a) * x) * zoom / side,
        -(torch.cos(a) * x - torch.sin(a) * y) * zoom / side,
    )
    for drawn, low, high in ((angle, -40, 40), (zoom, 0.8, 1.25), (down, -0.2, 0.2), (right, -0.2, 0.2)):
        assert low - 1e-3 < drawn.min() and drawn.max() < high + 1e-3
        at = (drawn - low) / (high - low)
        assert abs(at.mean() - 0.5) < 0.04 and abs(at.std() - 12**-0.5) < 0.02  # uniform
    assert torch.corrcoef(torch.stack((angle, zoom, down, right))).fill_diagonal_(0).abs().max() < 0.1


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


EVERYTHING = AugmentConfig(
    views=2,
    pad_crop=2,
    flip=True,
    degrees=10.0,
    translate=0.1,
    scale=(0.9, 1.1),
    resized_crop=(0.2, 1.0),
    randaugment=(2, 9.0),
    erasing=0.5,
)


READS = {"_local_scalar_dense", "is_nonzero", "equal"}
SIZED_BY_VALUES = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount"}


class NoWaiting(TorchDispatchMode):
    """Fails on what makes the processor wait for a CUDA device: reading a value, results whose size depends on values,
    and tensors that go from one device to another."""

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # torch would import its compiler for that, which takes longer than these tests

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        masks = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
        if (
            name in READS | SIZED_BY_VALUES
            or (name == "repeat_interleave" and "output_size" not in (kwargs or {}))
            or any(mask is not None and mask.dtype in (torch.bool, torch.uint8) for mask in masks)
        ):
            raise AssertionError(f"{operation} waits for the device")
        devices = {t.device for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        target = (kwargs or {}).get("device") if devices else None
        if len(devices | ({target} if target else set())) > 1:
            raise AssertionError(f"{operation} takes tensors from one device to another")
        return operation(*args, **(kwargs or {}))


def test_the_complete_pipeline_runs_without_waiting_for_the_device(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("tensors that are made of Python's numbers are made on the processor")

    augment = Augment(EVERYTHING, (16, 16))
    with torch.device("meta"):  # torch remembers which functions make tensors, the first time: the real ones
        assert torch.tensor(0.0).is_meta
    for name in ("tensor", "as_tensor", "from_numpy"):
        monkeypatch.setattr(torch, name, refuse)
    with torch.device("meta"), NoWaiting():  # what names no device is made on one that is not the images'
        views = augment(IMAGES)
    assert views.shape == (2, 6, 3, 16, 16) and views.device.type == "cpu" and views.isfinite().all()


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: [float(v) for v in x],
        lambda x: 1 if (x > 0).any() else 0,
        lambda x: torch.equal(x, x),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: torch.where(x > 0),
        lambda x: x.index_put_((x > 0,), torch.ones(3)),
        lambda x: x.unique(),
        lambda x: torch.repeat_interleave(x, x.long()),
    ],
)
def test_what_waits_for_the_device_is_noticed(wait):
    with pytest.raises(AssertionError, match="waits"), NoWaiting():
        wait(torch.ones(3))


@pytest.mark.parametrize(
    "move", [lambda x: x.to("meta"), lambda x: x * torch.rand((), device="meta"), lambda x: x + torch.rand(3)]
)
def test_what_moves_between_devices_is_noticed(move):
    x = torch.ones(3)
    with pytest.raises(AssertionError, match="one device to another"), torch.device("meta"), NoWaiting():
        move(x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_the_complete_pipeline_never_waits_for_a_cuda_device():
    augment, images = Augment(EVERYTHING, (16, 16)), IMAGES.cuda()
    try:
        torch.cuda.set_sync_debug_mode("error")
        views = augment(images)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert views.isfinite().all()


@pytest.mark.parametrize("change", [{"resized_crop": (0.5, 1.0)}, {"degrees": 5.0}, {"randaugment": (1, 9.0)}])
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
        {"degrees": -1.0},
        {"degrees": 361.0},
        {"translate": -0.1},
        {"translate": 1.1},
        {"scale": (0.0, 1.0)},
        {"scale": (1.2, 1.1)},
        {"scale": (1.0, float("inf"))},
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
    with pytest.raises(ConfigError, match=rf"augment\.{name}(\[\d\])? is "):
        AugmentConfig(**change)
