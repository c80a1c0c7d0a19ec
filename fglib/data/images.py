"""Images with the labels of every level: one split (`ImageSet`) and a data set of two (`DataSet`).

Fine labels are hidden by default of use, not of storage: what an experiment may not see, `labels` refuses.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fglib.data.files import FileImages
from fglib.data.hierarchy import ROOT, Hierarchy, check_labels
from fglib.errors import DataError, HiddenLabelsError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """n images of one split. The index of an image is its place here, and stays with it through training.

    images: uint8 RGB (n,3,H,W), or FileImages that decodes each image when it is asked for.
    targets: labels (n,) int64 of every level; read them through `labels`, which knows what may be seen.
    visible: the levels that may be read.
    paths: the file of each image, where there are files.
    masks: exact regions (n,H,W) bool by name, where they are known.
    boxes: (n,4) float (x0, y0, x1, y1), half-open, in pixels of `images`; None where they are not known.
    part_boxes: such boxes of parts of the object, by name, where they are known.
    """

    images: Tensor | FileImages = field(repr=False)
    hierarchy: Hierarchy = field(repr=False)
    targets: dict[str, Tensor] = field(repr=False)
    visible: tuple[str, ...]
    paths: tuple[str, ...] = field(default=(), repr=False)
    masks: dict[str, Tensor] = field(default_factory=dict, repr=False)
    boxes: Tensor | None = field(default=None, repr=False)
    part_boxes: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        n = len(self.images)
        if self.resident:
            _check_pixels(self.images)
        if set(self.targets) != set(self.hierarchy.levels):
            raise DataError(f"targets {set(self.targets)} do not match levels {self.hierarchy.levels}")
        for level, labels in self.targets.items():
            check_labels(labels, level, self.hierarchy.num_classes(level))
        for level in self.visible:
            self.hierarchy.level(level)
        parts = {**{f"targets of {k}": v for k, v in self.targets.items()}, **self.masks}
        parts |= {"paths": self.paths} if self.paths else {}
        parts |= {"boxes": self.boxes} if self.boxes is not None else {}
        parts |= {f"boxes of {k}": v for k, v in self.part_boxes.items()}
        for name, part in parts.items():
            if len(part) != n:
                raise DataError(f"{name}: {len(part)} entries for {n} images")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def resident(self) -> bool:
        """Whether all images are decoded in one tensor."""
        return isinstance(self.images, Tensor)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return tuple(self.images.shape[-2:]) if self.resident else (self.images.size, self.images.size)

    def pixels(self, index: Tensor) -> Tensor:
        """Images (m,3,H,W) uint8 at `index` (m,)."""
        if self.resident:
            return self.images[index]
        return torch.stack([self.images[i] for i in index.tolist()])

    def to(self, device: torch.device) -> "ImageSet":
        """The same set with resident images on a device; images that are decoded on demand stay as they are."""
        return replace(self, images=self.images.to(device)) if self.resident else self

    def labels(self, level: str) -> Tensor:
        """The labels (n,) int64 of a level; HiddenLabelsError when it is not visible."""
        self._check_visible(level)
        return self.targets[level]

    def only(self, *levels: str) -> "ImageSet":
        """The same images with only these levels visible; a hidden level stays hidden."""
        for level in levels:
            self._check_visible(level)
        return replace(self, visible=tuple(level for level in self.hierarchy.levels if level in levels))

    def with_root(self) -> "ImageSet":
        """The same images with the level ROOT above all others, visible; a hidden level stays hidden."""
        return replace(
            self,
            hierarchy=self.hierarchy.with_root(),
            targets={ROOT: torch.zeros(len(self), dtype=torch.long), **self.targets},
            visible=(ROOT, *self.visible),
        )

    def subset(self, index: Tensor | Sequence[int]) -> "ImageSet":
        """The images at `index` (m,), in that order, or where a mask (n,) bool is true; labels and all."""
        index = torch.as_tensor(index)
        index = index.nonzero().flatten() if index.dtype == torch.bool else index.long()
        return replace(
            self,
            images=self.images[index] if self.resident else self.images.subset(index.tolist()),
            targets={level: labels[index] for level, labels in self.targets.items()},
            paths=tuple(self.paths[i] for i in index.tolist()) if self.paths else (),
            masks={name: mask[index] for name, mask in self.masks.items()},
            boxes=None if self.boxes is None else self.boxes[index],
            part_boxes={name: boxes[index] for name, boxes in self.part_boxes.items()},
        )

    def _check_visible(self, level: str) -> None:
        if self.hierarchy.level(level) not in self.visible:
            raise HiddenLabelsError(
                f"labels of level '{level}' are hidden (visible: {', '.join(self.visible) or 'none'}); an "
                "experiment that may use them says so with `use_fine: true`"
            )


def _check_pixels(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise DataError(f"images must be uint8 (n,3,H,W), not {images.dtype} {tuple(images.shape)}")


Splits = Sequence[ImageSet]  # training and test, as readers return them


@dataclass(frozen=True, eq=False)
class DataSet:
    """A named data set: a training and a test split over one hierarchy, and a line on what it is."""

    name: str
    train: ImageSet
    test: ImageSet
    note: str = ""

    def __post_init__(self):
        if self.train.hierarchy != self.test.hierarchy:
            raise DataError(f"the two splits of '{self.name}' have different classes")

    @property
    def hierarchy(self) -> Hierarchy:
        return self.train.hierarchy

    def with_root(self) -> "DataSet":
        """The same data with the level ROOT above all others, see `Hierarchy.with_root`."""
        return replace(self, train=self.train.with_root(), test=self.test.with_root())

    def validation(self, level: str, fraction: float, seed: int = 0) -> "DataSet":
        """The same data with a part of the training images in place of the test images, which are left out.

        Each class of `level`, which must be visible, gives its share of `fraction`, drawn with `seed`, and keeps one
        image at least. What is chosen by this part is chosen without the test images, and without any label but those
        of `level`. DataError where no class has an image to give.
        """
        train, held = split_by_class(self.train.labels(level), fraction, seed)
        if not len(held):
            raise DataError(
                f"the {len(self.train)} training images of '{self.name}' are too few to hold out {fraction:g} of each "
                f"class of level '{level}' for validation"
            )
        return replace(self, train=self.train.subset(train), test=self.train.subset(held))


def split_by_class(labels: Tensor, fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices of items with labels (n,), ascending, in two parts: what stays, and `fraction` of every class.

    Shares are rounded so that their sum comes out right over many small classes too; a class keeps one item at least.
    """
    draw = torch.Generator().manual_seed(seed)
    held, seen = [], 0
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        share = math.floor((seen + len(members)) * fraction) - math.floor(seen * fraction)
        seen += len(members)
        held.append(members[torch.randperm(len(members), generator=draw)[: min(share, len(members) - 1)]])
    apart = torch.zeros(len(labels), dtype=torch.bool)
    apart[torch.cat(held)] = True
    return (~apart).nonzero().flatten(), apart.nonzero().flatten()
