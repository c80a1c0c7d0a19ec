"""Images of colour patches whose regions are known exactly (patterns, Sec. 4.1).

An image holds one big and one small patch at random places that do not overlap. A patch is a square of random
colours in a 2 x 2 grid: one plain colour each would leave 128 small patches hard to tell apart. The ground is
black, which is what padding and shifts in augmentation bring in, so a border gives nothing away; colours stay
away from black so that no patch is lost in it.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from fglib.data.hierarchy import Hierarchy
from fglib.data.images import ImageSet
from fglib.errors import ConfigError

CELLS = 2  # a patch has CELLS x CELLS colours
DARKEST = 64  # lowest grey level of a patch's colour channels
PATCHES = ("big", "small")


def patches(
    size: int = 64,
    *,
    images: int = 512,
    big: int = 32,
    small: int = 128,
    big_size: int | None = None,
    small_size: int | None = None,
    seed: int = 0,
) -> tuple[ImageSet, ImageSet]:
    """The paper's synthetic data: super-class = big patch, fine class = small patch, drawn independently.

    images: in each split; big, small: patches in the pool, which both splits share.
    big_size, small_size: side in pixels; 3/8 and 1/8 of the image by default, so 24 and 8 of 64.
    Every class occurs in each split when there are as many images as classes.
    Levels "big" and "small" are crossed. Masks "big" and "small", (n,H,W) bool, are exact.
    """
    _positive(size=size, images=images, big=big, small=small)
    draw = torch.Generator().manual_seed(seed)
    names = {"big": _names("big", big), "small": _names("small", small)}
    hierarchy = Hierarchy(PATCHES, names)
    painter = _Painter(size, big, small, big_size, small_size, draw)

    def split() -> ImageSet:
        labels = {"big": _labels(images, big, draw), "small": _labels(images, small, draw)}
        return painter.paint(hierarchy, labels)

    return split(), split()


def nested_patches(
    size: int = 64,
    *,
    classes: int = 8,
    children: int = 4,
    images: int = 512,
    clutter: int = 0,
    noise: int | float = 0.0,
    levels: list | tuple = PATCHES,
    seed: int = 0,
) -> tuple[ImageSet, ImageSet]:
    """Patches in a tree: every big patch has `children` small patches of its own, which are its fine classes.

    classes: super-classes; clutter: patches of small size and fresh colours in each image that mean nothing;
    noise: standard deviation of Gaussian noise, in grey levels of 0 to 255. Otherwise as `patches`.
    levels: their names, coarse to fine: the last is the small patch, the one before it the big patch, and each
        above groups the classes of the next in pairs; 4 levels with classes=8 have 2, 4, 8 and 8 * children.
        Masks stay "big" and "small".
    """
    _positive(size=size, images=images, classes=classes, children=children)
    if clutter < 0 or noise < 0:
        raise ConfigError(f"clutter and noise must not be negative, got {clutter} and {noise}")
    draw = torch.Generator().manual_seed(seed)
    hierarchy = _tree(levels, classes, children)
    *_, finest = hierarchy.levels
    painter = _Painter(size, classes, classes * children, None, None, draw)

    def split() -> ImageSet:
        labels = _labels(images, classes * children, draw)
        labels = {level: hierarchy.lift(labels, finest, level) for level in hierarchy.levels}
        return painter.paint(hierarchy, labels, clutter, noise)

    return split(), split()


def _tree(levels: Sequence[str], classes: int, children: int) -> Hierarchy:
    """`classes` classes on the last level but one, `children` below each, and pairs of classes above."""
    levels = tuple(levels)
    if len(levels) < 2 or not all(isinstance(level, str) for level in levels) or len(set(levels)) != len(levels):
        raise ConfigError(f"levels must be two or more different names, coarse to fine, not {list(levels)}")
    counts = [classes * children, classes]  # fine to coarse
    for level in levels[-3::-1]:
        counts.append((counts[-1] + 1) // 2)
        if counts[-1] == 1:
            raise ConfigError(
                f"level '{level}' would have a single class, as each level above '{levels[-2]}' has half the classes "
                f"of the next; take more than {classes} classes or fewer levels"
            )
    names = {level: _names(level, count) for level, count in zip(levels, reversed(counts))}
    sizes = [2] * (len(levels) - 2) + [children]  # of a group of siblings on each level but the first
    parents = {level: tuple(i // k for i in range(len(names[level]))) for level, k in zip(levels[1:], sizes)}
    return Hierarchy(levels, names, parents)


class _Painter:
    """A pool of patches and the generator that places them."""

    def __init__(self, size: int, big: int, small: int, big_size: int | None, small_size: int | None, draw: Generator):
        self.size, self.draw = size, draw
        self.sides = {
            "big": max(1, size * 3 // 8) if big_size is None else big_size,
            "small": max(1, size // 8) if small_size is None else small_size,
        }
        _positive(big_size=self.sides["big"], small_size=self.sides["small"])
        if sum(self.sides.values()) > size:
            raise ConfigError(
                f"a big patch of {self.sides['big']} and a small one of {self.sides['small']} pixels do not fit "
                f"side by side into {size} pixels; choose a larger size or smaller patches"
            )
        self.pool = {"big": self._colours(big, "big"), "small": self._colours(small, "small")}

    def paint(self, hierarchy: Hierarchy, labels: dict[str, Tensor], clutter: int = 0, noise: float = 0.0) -> ImageSet:
        """Images with the patches of their labels on the two finest levels.

        Clutter lies below the patches, so that the masks stay exact.
        """
        shown = dict(zip(PATCHES, hierarchy.levels[-2:]))
        n, side = len(labels[shown["small"]]), self.sides["small"]
        images = torch.zeros(n, 3, self.size, self.size, dtype=torch.uint8)
        for _ in range(clutter):
            corner = torch.randint(self.size - side + 1, (n, 2), generator=self.draw)
            _paste(images, self._colours(n, "small"), self._region(corner, side))
        corners = self._places(n)
        masks = {}
        for patch, level in shown.items():
            masks[patch] = self._region(corners[patch], self.sides[patch])
            _paste(images, self.pool[patch][labels[level]], masks[patch])
        if noise:
            grain = torch.randn(images.shape, generator=self.draw) * noise
            images = (images + grain).round().clamp(0, 255).to(torch.uint8)
        return ImageSet(images, hierarchy, labels, visible=hierarchy.levels, masks=masks)

    def _colours(self, count: int, level: str) -> Tensor:
        """Random patches (count,3,side,side) uint8."""
        cells = torch.randint(DARKEST, 256, (count, 3, CELLS, CELLS), generator=self.draw, dtype=torch.uint8)
        cell = torch.arange(self.sides[level]) * CELLS // self.sides[level]
        return cells[:, :, cell][:, :, :, cell]

    def _places(self, n: int) -> dict[str, Tensor]:
        """Upper left corners (n,2) of n pairs, uniform over all pairs that do not overlap (by rejection)."""
        big, small = self.sides["big"], self.sides["small"]
        corners = {level: torch.empty(n, 2, dtype=torch.long) for level in self.sides}
        rest = torch.arange(n)
        while len(rest):
            for level, side in self.sides.items():
                corner = torch.randint(self.size - side + 1, (len(rest), 2), generator=self.draw)
                corners[level][rest] = corner
            a, b = corners["big"][rest], corners["small"][rest]
            rest = rest[((a < b + small) & (b < a + big)).all(dim=1)]
        return corners

    def _region(self, corner: Tensor, side: int) -> Tensor:
        """The squares at upper left corners (n,2) of (row, column), as masks (n,H,W) bool."""
        pixel = torch.arange(self.size)
        inside = (pixel >= corner[:, :, None]) & (pixel < corner[:, :, None] + side)  # (n,2,size)
        return inside[:, 0, :, None] & inside[:, 1, None, :]


def _paste(images: Tensor, patch: Tensor, region: Tensor) -> None:
    """Writes patches (n,3,side,side) into images (n,3,H,W) where the region (n,H,W) is true, in place."""
    images.permute(1, 0, 2, 3)[:, region] = patch.permute(1, 0, 2, 3).flatten(1)


def _labels(images: int, classes: int, draw: Generator) -> Tensor:
    """Random labels (images,), every class at least once if there are enough images."""
    once = torch.randperm(classes, generator=draw)[:images]
    rest = torch.randint(classes, (images - len(once),), generator=draw)
    return torch.cat([once, rest])[torch.randperm(images, generator=draw)]


def _names(stem: str, count: int) -> tuple[str, ...]:
    digits = len(str(count - 1))
    return tuple(f"{stem}{i:0{digits}d}" for i in range(count))


def _positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
