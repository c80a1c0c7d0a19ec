"""Images of an object made of parts, on clutter, whose fine classes differ in one small part (for Coarse2Fine).

The object is the bird of `fglib.data.made.bird`, posed anew in each image. The coarse class ("kind") is the shape and
the colour of the body. The fine class ("model") is the colour of a single part, and which part that is depends on the
kind; the other parts draw their colours from the same palette, so that none of them gives the model away. Six binary
attributes, each local to one part, vary at random too. Clutter takes its colours from the objects, lies below them
and hides nothing, so masks and boxes are exact.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from fglib.boxes import tight_boxes
from fglib.data.hierarchy import Hierarchy
from fglib.data.images import ImageSet, Splits
from fglib.data.made.bird import (
    ATTRIBUTES,
    BUILDS,
    CENTERS,
    FORMS,
    FRAMES,
    MARK,
    OUTLINES,
    PART,
    PARTS,
    inside,
    shapes_there,
    turn,
)
from fglib.errors import ConfigError

SMALLEST = 24  # pixels of an image's side; in smaller ones the legs get lost
TELLING = ("head", "tail", "wing", "beak")  # the part that tells the models of kind 0, 1, 2, 3, 0 + 4, ...
BODY_COLOURS = torch.tensor(  # one for each kind
    [
        [150, 105, 65],
        [105, 135, 75],
        [105, 125, 160],
        [150, 90, 130],
        [190, 165, 120],
        [70, 130, 130],
        [110, 85, 90],
        [175, 125, 110],
    ]
)
VARIANTS = torch.tensor(  # colours of any other part: red, yellow, blue, white, black, green
    [[215, 45, 45], [245, 205, 45], [50, 85, 220], [240, 240, 235], [35, 35, 40], [40, 180, 90]]
)
SIDE = (0.5, 0.75)  # longer side of the object's box, as a fraction of the image's
TURN = 25.0  # degrees
JITTER = 12.0  # grey levels by which a colour varies at most between images
LIGHT = (0.8, 1.1)  # brightness of an image
VISIBLE = 4  # pixels that every part shows at least
CHUNK = 32  # images that are drawn at a time: their pixels stay in the processor's cache


def parts(
    size: int = 64,
    *,
    kinds: int = 4,
    models: int = 3,
    images: int = 1000,
    test_images: int | None = None,
    clutter: int = 12,
    noise: int | float = 8.0,
    seed: int = 0,
) -> Splits:
    """Objects of parts: levels "kind" and "model", `models` models of each kind.

    images, test_images: in the training and the test split, as many by default; classes are as frequent as each
    other. clutter: shapes below the object; noise: standard deviation in grey levels of 0 to 255.
    Masks (n,H,W) bool "object" and one for each of PARTS, what of it is visible; `boxes` and `part_boxes` (n,4) are
    tight around them. Every part is visible in every image.
    """
    names = (
        tuple(f"kind{k}" for k in range(kinds)),
        tuple(f"kind{k}/model{m}" for k in range(kinds) for m in range(models)),
    )
    _check(size, kinds, models, images, test_images, clutter, noise)
    hierarchy = Hierarchy(
        ("kind", "model"),
        {"kind": names[0], "model": names[1]},
        {"model": tuple(k for k in range(kinds) for _ in range(models))},
    )
    splits = _paint_splits(size, kinds, models, images, test_images, clutter, noise, seed)
    return [_image_set(hierarchy, {"kind": model // models, "model": model}, drawn) for model, _, drawn in splits]


def part_attributes(
    size: int = 64,
    *,
    kinds: int = 4,
    models: int = 3,
    images: int = 1000,
    test_images: int | None = None,
    clutter: int = 12,
    noise: int | float = 8.0,
    seed: int = 0,
) -> Splits:
    """The images of `parts` under other labels: each of ATTRIBUTES is a level of its classes "no" and "yes".

    The levels are crossed. Every attribute holds for half of the images and is independent of all else.
    """
    _check(size, kinds, models, images, test_images, clutter, noise)
    hierarchy = Hierarchy(ATTRIBUTES, dict.fromkeys(ATTRIBUTES, ("no", "yes")))
    splits = _paint_splits(size, kinds, models, images, test_images, clutter, noise, seed)
    return [
        _image_set(hierarchy, {name: has[:, i].long() for i, name in enumerate(ATTRIBUTES)}, drawn)
        for _, has, drawn in splits
    ]


def _check(size, kinds, models, images, test_images, clutter, noise) -> None:
    if size < SMALLEST:
        raise ConfigError(f"size must be at least {SMALLEST} pixels, or parts get lost, got {size}")
    if not 1 <= kinds <= len(BODY_COLOURS):
        raise ConfigError(f"kinds must lie between 1 and {len(BODY_COLOURS)}, the colours of a body, got {kinds}")
    if not 2 <= models <= len(VARIANTS):
        raise ConfigError(f"models must lie between 2 and {len(VARIANTS)}, the colours of a part, got {models}")
    for name, count in (("images", images), ("test_images", test_images)):
        if count is not None and count < 1:
            raise ConfigError(f"{name} must be at least 1, got {count}")
    if clutter < 0 or noise < 0:
        raise ConfigError(f"clutter and noise must not be negative, got {clutter} and {noise}")


def _paint_splits(size, kinds, models, images, test_images, clutter, noise, seed) -> list:
    """(model (n,), attributes (n,A) bool, (images, masks)) of the training and of the test split."""
    draw = torch.Generator().manual_seed(seed)
    splits = []
    for n in (images, images if test_images is None else test_images):
        model = torch.randperm(n, generator=draw) % (kinds * models)
        has = torch.stack([torch.randperm(n, generator=draw) % 2 == 1 for _ in ATTRIBUTES], dim=1)
        variant = torch.randint(len(VARIANTS), (n, len(PARTS)), generator=draw)
        kind = model // models
        telling = torch.tensor([PARTS.index(part) for part in TELLING])[kind % len(TELLING)]
        variant[torch.arange(n), telling] = model % models
        splits.append((model, has, _paint(size, kind, variant, has, clutter, noise, draw)))
    return splits


def _image_set(hierarchy: Hierarchy, targets: dict[str, Tensor], drawn: tuple[Tensor, dict[str, Tensor]]) -> ImageSet:
    images, masks = drawn
    boxes = {name: tight_boxes(mask) for name, mask in masks.items()}
    whole = boxes.pop("object")
    return ImageSet(images, hierarchy, targets, hierarchy.levels, masks=masks, boxes=whole, part_boxes=boxes)


def _paint(
    size: int, kind: Tensor, variant: Tensor, has: Tensor, clutter: int, noise: float, draw: Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Images (n,3,H,W) uint8 of objects and their masks.

    kind (n,); variant (n,P) is the colour of each part, of no effect for the body; has (n,A) bool are the attributes.
    What is drawn at random does not depend on `variant`.
    """
    n = len(kind)
    top = _place(size, kind % len(BUILDS), has, draw)  # (n,H,W)
    colours = VARIANTS[variant]  # (n,P,3)
    colours[:, PARTS.index("body")] = BODY_COLOURS[kind]
    colours = _jitter(colours, draw)[:, PART[:-1]]  # (n,S,3)
    opposite = torch.where(colours.mean(dim=2, keepdim=True) > 128, 30.0, 235.0)
    colours = torch.where(MARK[:, None], opposite, colours)

    images = _background(size, n, draw)  # (n,3,H,W)
    _fill(images, *_clutter(size, n, clutter, draw))
    _fill(images, top, colours)
    images *= LIGHT[0] + (LIGHT[1] - LIGHT[0]) * torch.rand(n, 1, 1, 1, generator=draw)
    images += torch.randn(images.shape, generator=draw) * noise
    pixels = images.round_().clamp_(0, 255).to(torch.uint8)

    part = PART[top]
    return pixels, {"object": part >= 0, **{name: part == i for i, name in enumerate(PARTS)}}


def _jitter(colours: Tensor, draw: Generator) -> Tensor:
    return colours + (torch.rand(colours.shape, generator=draw) * 2 - 1) * JITTER


def _fill(images: Tensor, top: Tensor, colours: Tensor) -> None:
    """Colours images (n,3,H,W) in place: with colours (n,S,3) where the shape (n,H,W) on top is not -1."""
    covered = top >= 0
    image = torch.arange(len(images))[:, None, None].expand_as(top)
    images.permute(0, 2, 3, 1)[covered] = colours[image[covered], top[covered]]


def _background(size: int, n: int, draw: Generator) -> Tensor:
    """Greyish colours that change smoothly, float (n,3,H,W)."""
    coarse = 80 + 90 * torch.rand(n, 1, 1, 1, generator=draw) + 70 * (torch.rand(n, 3, 3, 3, generator=draw) - 0.5)
    return F.interpolate(coarse, (size, size), mode="bilinear", align_corners=True)


def _clutter(size: int, n: int, count: int, draw: Generator) -> tuple[Tensor, Tensor]:
    """`count` random shapes in the colours of objects: the one on top (n,H,W), -1 beside them, and colours (n,S,3)."""
    palette = torch.cat([BODY_COLOURS, VARIANTS])
    colours = _jitter(palette[torch.randint(len(palette), (n, count), generator=draw)], draw)
    axes = size * (0.04 + 0.1 * torch.rand(n, count, 1, 2, generator=draw))
    frames = turn(2 * math.pi * torch.rand(n, count, generator=draw)) * axes
    centers = size * torch.rand(n, count, 2, generator=draw)
    forms = [tuple(OUTLINES)[i % len(OUTLINES)] for i in range(count)]
    return _on_top(size, forms, frames, centers), colours


def _place(size: int, build: Tensor, has: Tensor, draw: Generator) -> Tensor:
    """The shape of the object that is on top in each pixel, (n,H,W) int64, -1 beside it, in random poses.

    A pose that leaves a part fewer than VISIBLE pixels is drawn again.
    """
    there = shapes_there(has)
    top = torch.empty(len(build), size, size, dtype=torch.long)
    rest = torch.arange(len(build))
    while len(rest):
        frames, centers = _pose(size, build[rest], there[rest], draw)
        top[rest] = _on_top(size, FORMS, frames, centers, there[rest])
        part = PART[top[rest]]
        shown = torch.stack([(part == i).sum(dim=(1, 2)) for i in range(len(PARTS))], dim=1)
        rest = rest[(shown < VISIBLE).any(dim=1)]
    return top


def _pose(size: int, build: Tensor, there: Tensor, draw: Generator) -> tuple[Tensor, Tensor]:
    """Frames (n,S,2,2) and centers (n,S,2), in pixels, of the shapes in random poses inside the image."""
    n = len(build)
    angle, side, mirror, *place = torch.rand(5, n, generator=draw)
    flip = torch.stack([torch.where(mirror < 0.5, -1.0, 1.0), torch.ones(n)], dim=1)
    pose = turn((angle * 2 - 1) * math.radians(TURN)) * flip[:, None]  # (n,2,2)
    frames = pose[:, None] @ FRAMES[build]
    centers = (pose[:, None] @ CENTERS[build][..., None])[..., 0]
    points = torch.einsum("nsij,skj->nski", frames, torch.stack([OUTLINES[form] for form in FORMS]))
    points = points + centers[:, :, None]  # (n,S,32,2)
    absent = torch.where(there, 0.0, math.inf)[:, :, None, None]
    low = (points + absent).amin(dim=(1, 2))  # (n,2)
    extent = (points - absent).amax(dim=(1, 2)) - low
    scale = (size * (SIDE[0] + (SIDE[1] - SIDE[0]) * side) / extent.amax(dim=1))[:, None]
    corner = torch.stack(place, dim=1) * (size - extent * scale)
    return frames * scale[..., None, None], (centers - low[:, None]) * scale[..., None] + corner[:, None]


def _on_top(size: int, forms: Sequence[str], frames: Tensor, centers: Tensor, there: Tensor | None = None) -> Tensor:
    """The last of S shapes that covers the center of each pixel, (n,H,W) int64, -1 where none does.

    frames (n,S,2,2) and centers (n,S,2) in pixels; there (n,S) bool: the shapes that an image has, by default all.
    """
    top = torch.full((len(frames), size, size), -1)
    pixel = torch.arange(size) + 0.5
    back = torch.linalg.inv(frames)
    shift = -(back @ centers[..., None])[..., 0]
    for start in range(0, len(frames), CHUNK):
        few = slice(start, start + CHUNK)
        for i, form in enumerate(forms):
            u, v = (
                (back[few, i, k, 0, None] * pixel + shift[few, i, k, None])[:, None, :]
                + (back[few, i, k, 1, None] * pixel)[:, :, None]
                for k in (0, 1)
            )  # (m,H,W) each
            region = inside(form, u, v)
            top[few][region if there is None else region & there[few, i, None, None]] = i
    return top
