"""What "Subtle Differences" measures: five crops, how far class maps spread, which classes are confused, errors.

Each is about the level that is trained on.
"""

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor

from fglib.boxes import tight_boxes
from fglib.data.images import ImageSet
from fglib.errors import ConfigError
from fglib.inference import apply
from fglib.measure.coarse2fine import THRESHOLDS
from fglib.measure.trained import Arrays, Metrics, Trained, evenly, percent, thumbnails
from fglib.models import bilinear_upsample
from fglib.models.views import five_crops, mean_of_probabilities

BATCH = 128  # images at a time: five crops and maps of all classes take memory


def crops(trained: Trained) -> tuple[Metrics, Arrays]:
    """Top-1 of the mean of the probabilities over five crops, the corners and the center (reading 32).

    The crops are the outermost ones that training drew, and the one in their middle: of the padded image, where it was
    padded, else of seven eighths of its side.
    """
    padding = trained.config.augment.pad_crop
    height, _ = trained.data.test.image_size
    side = height if padding else height * 7 // 8

    def scores(images: Tensor) -> Tensor:
        looks = five_crops(images, side, padding)
        return mean_of_probabilities(trained.method.logits(looks.flatten(0, 1)).unflatten(0, looks.shape[:2]))

    return {"top1_five_crops": percent(trained.on_test(scores, BATCH).argmax(1) == trained.test_labels("coarse"))}, {}


def class_maps(trained: Trained, shown: int = 8, threshold: float = 0.5) -> tuple[Metrics, Arrays]:
    """How much of the object the map of its own class covers (Figs. 1 and 4), on the test set.

    A map is cut at zero and enlarged to the image. cam_coverage: share of the object's box where it is at least
    `threshold` times its maximum; cam_background: the same of the rest of the image; cam_inside: share of the map's sum
    that lies in the box, all in percent. cam_entropy: of the map at its own size as a distribution over places, 1 when
    it is even; images whose map is zero everywhere count in the other figures and not in this one.
    """
    method, test, labels = trained.method, trained.data.test, trained.test_labels("coarse")
    region = partial(object_regions, trained.data.name, test)
    batches = iter(labels.split(BATCH))  # the maps of all classes of all images would not fit

    def own(images: Tensor) -> Tensor:
        label = next(batches).to(images.device)
        return method.class_maps(images)[torch.arange(len(label), device=images.device), label].clamp(min=0)

    maps = trained.on_test(own, BATCH)  # (n, h, w)
    parts = [_spread(maps[rows], region(rows)) for rows in torch.arange(len(test)).split(BATCH)]
    covered, background, inside = (torch.cat(part, -1) for part in zip(*parts))
    mass = maps.flatten(1)
    p = mass / mass.sum(1, keepdim=True)  # NaN where the map is zero everywhere
    entropy = -torch.special.xlogy(p, p).sum(1) / math.log(p.shape[1])
    rows = evenly(len(test), shown)
    at = THRESHOLDS.index(threshold)
    curve = [100 * part.double().mean(1) for part in (covered, background)]
    metrics = {
        "cam_coverage": curve[0][at].item(),
        "cam_background": curve[1][at].item(),
        "cam_inside": 100 * inside.double().mean().item(),
        "cam_entropy": entropy.nanmean().item(),
        "cam_empty": percent(mass.amax(1) == 0),
    }
    return metrics, {
        "cam_curve": np.stack([THRESHOLDS, *curve], 1),  # threshold, box, rest
        "cam_images": thumbnails(test.pixels(rows)),
        "cam_maps": maps[rows].numpy().astype(np.float16),
        "cam_boxes": _corners(region(rows)).numpy(),
        "cam_names": trained.class_names("coarse")[labels[rows].numpy()],
    }


def _spread(maps: Tensor, region: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shares of regions (b, H, W), and of the rest, that maps (b, h, w) cover at each threshold, (thresholds, b) twice,
    and the share (b,) of their sum inside."""
    large = bilinear_upsample(maps[:, None], tuple(region.shape[1:]))[:, 0].flatten(1)
    inside, relative = region.flatten(1), large / large.amax(1, keepdim=True).clamp(min=torch.finfo(large.dtype).tiny)
    covered, background = (
        torch.stack([((relative >= t) & area).sum(1) / area.sum(1).clamp(min=1) for t in THRESHOLDS])
        for area in (inside, ~inside)
    )
    return covered, background, (large * inside).sum(1) / large.sum(1).clamp(min=1e-12)


def object_regions(name: str, images: ImageSet, rows: Tensor) -> Tensor:
    """Where the object of some images is, (rows, H, W) bool: its box, else all that is masked.

    ConfigError where neither is known; `name` is that of the data set.
    """
    height, width = images.image_size
    if images.boxes is not None:
        x, y = torch.arange(width) + 0.5, torch.arange(height)[:, None] + 0.5
        x0, y0, x1, y1 = images.boxes[rows].T[:, :, None, None]
        return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    if images.masks:
        return torch.stack([mask[rows] for mask in images.masks.values()]).any(0)
    raise ConfigError(f"measure 'class_maps' needs the boxes of objects, and data set '{name}' has none; leave it out")


def confusions(trained: Trained) -> tuple[Metrics, Arrays]:
    """Which classes of the test set are taken for which, and how many of the errors stay with a sibling.

    sibling_errors: share (%) of the errors whose two classes have the same parent one level above, where there is one.
    The array has a row (class, taken for, how often) for each such pair, most frequent first.
    """
    labels = trained.test_labels("coarse")
    found = trained.test_scores.argmax(1)
    wrong = found != labels
    pairs, counts = torch.stack([labels[wrong], found[wrong]], 1).unique(dim=0, return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    hierarchy, level = trained.data.hierarchy, trained.config.data.coarse
    metrics = {}
    if hierarchy.nested and hierarchy.levels.index(level) > 0:
        parent = torch.tensor(hierarchy.parents[level])
        metrics["sibling_errors"] = percent((parent[labels] == parent[found])[wrong])  # NaN without an error
    return metrics, {
        "confusions": torch.cat([pairs, counts[:, None]], 1)[order].numpy().astype(np.int32),
        "confusion_names": trained.class_names("coarse"),
    }


def classification_error(trained: Trained, most: int = 2000) -> dict[str, float]:
    """Error (%) on the training images as they are, up to `most` of them, and on the test set."""
    train = trained.data.train
    wrong = {}
    for name, part in (("train", train.subset(evenly(len(train), most))), ("test", trained.data.test)):
        found = apply(trained.method, trained.method.logits, part, trained.device).argmax(1)
        wrong[f"{name}_error"] = percent(found != part.labels(trained.config.data.coarse))
    return wrong


def final_classification_error(trained: Trained) -> tuple[Metrics, Arrays]:
    """`classification_error` at the end of the training."""
    return classification_error(trained), {}


def _corners(regions: Tensor) -> Tensor:
    """(x0, y0, x1, y1) of the tight boxes (n, 4) of regions (n, H, W), in parts of the side."""
    height, width = regions.shape[1:]
    return tight_boxes(regions) / torch.tensor([width, height, width, height])
