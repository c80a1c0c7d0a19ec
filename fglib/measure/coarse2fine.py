"""What "Coarse2Fine" measures: heads, where the object is, what each attention map stands for, and the up-sampler."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fglib.boxes import box_iou, boxes_from_maps, smoothed
from fglib.data.images import ImageSet
from fglib.data.made.maps import INTERPOLATIONS
from fglib.errors import ConfigError
from fglib.inference import apply
from fglib.losses import map_overlap
from fglib.measure.localization import localization_error
from fglib.measure.trained import Arrays, Metrics, Trained, best_one_and_five, evenly, percent, thumbnails
from fglib.models import bilinear_upsample

THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(1, 20))  # of a map's maximum


def recognition(trained: Trained) -> tuple[Metrics, Arrays]:
    """Top-1 and top-5 of the classes that are trained on; of two heads, the top-1 of each and of their mean."""
    metrics = dict(zip(("top1", "top5"), best_one_and_five(trained)))
    if hasattr(trained.method, "heads"):
        heads = trained.on_test(lambda x: torch.stack(list(trained.method.heads(x).values()), 1))
        for name, scores in zip(("first", "second", "average"), heads.unbind(1)):
            metrics[f"{name}_top1"] = percent(scores.argmax(1) == trained.test_labels("coarse"))
    return metrics, {}


def localization(trained: Trained, shown: int = 8, most: int = 1000) -> tuple[Metrics, Arrays]:
    """Localization error by box and label (Table 7), by box alone, and mean IoU, on the boxes of the test set.

    Maps first go through an averaging filter of a sixteenth of the image. The paper does not say how it chose the
    threshold; methods differ much in how their maps are spread, so each run gets the one that finds most boxes of its
    training images (up to `most`), as in "Evaluating weakly supervised object localization methods right" (Choe et al.
    2020). No box of the test set chooses it. How the errors depend on it is in the arrays.
    """
    data = trained.data
    train = data.train.subset(evenly(len(data.train), most))
    for part in (train, data.test):
        if part.boxes is None:
            raise ConfigError(
                f"measure 'localization' needs the boxes of objects, and data set '{data.name}' has none; leave the "
                "measure out"
            )
    test, maps = data.test, _location_maps(trained, data.test)
    right = trained.test_scores.argmax(1) == trained.test_labels("coarse")
    chosen = min(_error_by_threshold(_location_maps(trained, train), train.boxes), key=lambda found: found[1])[0]
    boxes = boxes_from_maps(maps, chosen)
    iou = box_iou(boxes, test.boxes)
    rows = evenly(len(test), shown)
    small = bilinear_upsample(maps[rows, None], tuple(min(48, side) for side in maps.shape[1:]))[:, 0]
    metrics = {
        "localization_error": localization_error(boxes, test.boxes, right),
        "box_error": localization_error(boxes, test.boxes, torch.ones_like(right)),
        "mean_iou": iou.mean().item(),
        "threshold": chosen,
    }
    return metrics, {
        "localization_iou": iou.numpy().astype(np.float16),
        "localization_right": right.numpy(),
        "localization_box_errors": np.array(_error_by_threshold(maps, test.boxes)),  # (thresholds, 2)
        "localization_images": thumbnails(test.pixels(rows)),
        "localization_maps": small.numpy().astype(np.float16),
        # found and true, in parts of the side, as the pictures may be smaller than the images
        "localization_boxes": (torch.stack([boxes[rows], test.boxes[rows]], 1) / maps.shape[-1]).numpy(),
    }


def _location_maps(trained: Trained, images: ImageSet) -> Tensor:
    """Smoothed location maps (n, H, W) of a set."""
    maps = apply(trained.method, trained.method.location_maps, images, trained.device, batch_size=128)
    return smoothed(maps, maps.shape[-1] // 16 // 2 * 2 + 1)


def _error_by_threshold(maps: Tensor, boxes: Tensor) -> list[tuple[float, float]]:
    """(threshold, percentage of images whose box is wrong, whatever their label)."""
    everyone = torch.ones(len(maps), dtype=torch.bool)
    return [(t, localization_error(boxes_from_maps(maps, t), boxes, everyone)) for t in THRESHOLDS]


def attention_parts(trained: Trained, shown: int = 4) -> tuple[Metrics, Arrays]:
    """How alike the attention maps are, how tight part features lie in a class, and which part each map attends.

    For methods with attention maps. The part of a map is the one its highest place lies in, where parts are known.
    """
    method, test = trained.method, trained.data.test
    if not hasattr(method, "attend"):
        return {}, {}
    features = trained.on_test(lambda x: method.attend(x)[0].flatten(1))
    attention = trained.on_test(lambda x: method.attend(x)[1])
    within, total = _variances(features, trained.test_labels("coarse"))
    rows = evenly(len(test), shown)
    metrics = {
        "map_overlap": map_overlap(attention).mean().item(),
        "empty_maps": percent((attention.amax((2, 3)) == 0).flatten()),
        "within_variance": within,
        "within_share": 100 * within / total,
    }
    arrays = {
        "attention_images": thumbnails(test.pixels(rows)),
        "attention_maps": attention[rows].numpy().astype(np.float16),  # (shown, M, h, w)
    }
    if test.part_boxes:
        table = _attended(attention, {name: test.masks[name] for name in test.part_boxes})
        metrics["part_consistency"] = 100 * table.amax(1).mean().item()
        metrics["on_object"] = 100 * table[:, :-1].sum(1).mean().item()
        arrays["attention_part_names"] = np.array([*test.part_boxes, "background"])
        arrays["attention_parts"] = table.numpy().astype(np.float16)  # (M, parts and background)
    return metrics, arrays


def upsampling(trained: Trained, shown: int = 6) -> tuple[Metrics, Arrays]:
    """Root mean squared error of the up-sampler and of bilinear interpolation, by the kind of the target."""
    method, test = trained.method, trained.data.test
    kinds = trained.test_labels("coarse")

    def pair(images: Tensor) -> Tensor:
        wanted = (torch.full((len(images),), k, device=images.device) for k in range(len(INTERPOLATIONS)))
        every = [method.targets(images, kind) for kind in wanted]
        return torch.cat([method.embed(images), bilinear_upsample(images[:, :1], method.size(images)), *every], 1)

    made = trained.on_test(pair)  # (n, 2 + kinds, H, W)
    learned, bilinear = made[:, 0], made[:, 1]
    target = made[torch.arange(len(made)), 2 + kinds]
    metrics = {}
    for i, name in enumerate(INTERPOLATIONS):
        own = kinds == i
        metrics[f"rmse_{name}"] = _rmse(learned[own], target[own])
        metrics[f"bilinear_rmse_{name}"] = _rmse(bilinear[own], target[own])
    metrics |= {"rmse": _rmse(learned, target), "bilinear_rmse": _rmse(bilinear, target)}
    rows = evenly(len(test), shown)
    return metrics, {
        "upsampling_maps": test.pixels(rows)[:, 0].numpy(),
        "upsampling_targets": target[rows].numpy().astype(np.float16),
        "upsampling_outputs": learned[rows].numpy().astype(np.float16),
        "upsampling_kinds": np.array(INTERPOLATIONS)[kinds[rows].numpy()],
    }


def _variances(features: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean squared distance of features (n, d) to the mean of their class, and to the mean of all."""
    x = features.double()
    classes, label, counts = labels.unique(return_inverse=True, return_counts=True)
    means = x.new_zeros(len(classes), x.shape[1]).index_add_(0, label, x) / counts[:, None]
    return tuple((x - center).square().sum(1).mean().item() for center in (means[label], x.mean(0)))


def _attended(attention: Tensor, masks: dict[str, Tensor]) -> Tensor:
    """Share of images (M, parts + 1) whose map's highest place lies in each part, the last for the background.

    attention: (n, M, h, w); masks: (n, H, W) bool. Maps that are zero are left out.
    """
    owner = torch.full(next(iter(masks.values())).shape, len(masks))
    for i, mask in enumerate(masks.values()):
        owner[mask] = i
    peak, place = bilinear_upsample(attention, tuple(owner.shape[1:])).flatten(2).max(2)  # (n, M)
    part = owner.flatten(1).gather(1, place)
    counts = F.one_hot(part, len(masks) + 1).mul(peak[:, :, None] > 0).sum(0).float()  # (M, parts + 1)
    return counts / counts.sum(1, keepdim=True).clamp(min=1)


def _rmse(a: Tensor, b: Tensor) -> float:
    return (a - b).double().square().mean().sqrt().item()
