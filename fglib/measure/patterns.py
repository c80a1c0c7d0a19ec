"""What "Representation Learning with Fine-grained Patterns" measures: where a network looks, and its two bounds."""

import numpy as np
import torch
from torch import Tensor

from fglib.data.augment import to_unit_interval
from fglib.inference import apply
from fglib.measure import explain, theory
from fglib.measure.trained import Arrays, Metrics, Trained, evenly


def attention(trained: Trained, shown: int = 6) -> tuple[Metrics, Arrays]:
    """Share of spatial attention on each mask, divided by the mask's share of the area (1 = as much as its area).

    The mean over the images whose map is not zero; on the training images, as in Fig. 2 of "patterns": the question is
    what was learned from them. The map is that of the last stage at its own resolution.
    """
    train = trained.data.train
    maps = explain.attention_map(apply(trained.method, trained.method.trunk.maps, train, trained.device))
    metrics = {
        f"attention_{name}": explain.attention_share(maps, mask).nanmean().item() for name, mask in train.masks.items()
    }
    rows = evenly(len(train), shown)
    return metrics, {
        "attention_images": train.pixels(rows).numpy(),
        "attention_maps": maps[rows].numpy().astype(np.float16),
    }


def attribution(trained: Trained, images: int = 64, shown: int = 6) -> tuple[Metrics, Arrays]:
    """A second witness beside attention: Integrated Gradients and layer Grad-CAM of the training target's score.

    The heads are linear without bias, so the sum of an image's own logits, one per head, is f(x) . w with w the sum
    of the heads' own rows.
    """
    train, method, names = trained.data.train, trained.method, trained.config.data
    rows = evenly(len(train), images)
    own = {"super_head": train.labels(names.coarse), "fine_head": train.labels(names.fine), "instance_head": None}
    w = torch.zeros(len(rows), method.trunk.dim)
    for head, labels in own.items():
        if hasattr(method, head):
            weight = getattr(method, head).weight.detach().float().cpu()
            w += weight[rows if labels is None else labels[rows]]
    method.eval()

    def score(pixels: Tensor, w: Tensor) -> Tensor:
        return (method.trunk(pixels) * w).sum(1)  # (B, d), (B, d) -> (B,)

    pixels, w = to_unit_interval(train.pixels(rows)).to(trained.device), w.to(trained.device)
    found = {
        "ig": explain.integrated_gradients(score, pixels, w),
        "gradcam": explain.layer_grad_cam(score, method.trunk.body, pixels, w),
    }
    few = evenly(len(rows), shown)
    metrics: Metrics = {}
    arrays: Arrays = {"attribution_images": train.pixels(rows[few]).numpy()}
    for kind, saliency in found.items():
        arrays[f"{kind}_maps"] = saliency[few].cpu().numpy().astype(np.float16)
        for name, mask in train.masks.items():
            metrics[f"{kind}_{name}"] = explain.attention_share(saliency.cpu(), mask[rows]).nanmean().item()
    return metrics, arrays


def bounds(trained: Trained) -> tuple[Metrics, Arrays]:
    """Theorems 1 and 2 of "patterns" on the training images; for methods with both heads, on nested levels."""
    method, train, names = trained.method, trained.data.train, trained.config.data
    both = hasattr(method, "instance_head") and hasattr(method, "super_head")
    if not both or not train.hierarchy.nested:
        return {}, {}
    features = apply(method, method.trunk, train, trained.device)
    weights = [head.weight.detach().float().cpu() for head in (method.instance_head, method.super_head)]
    labels = train.labels(names.coarse), train.labels(names.fine)
    out: Metrics = {}
    for number, theorem in (("1", theory.theorem_1), ("2", theory.theorem_2)):
        out |= {f"theorem{number}_{k}": float(v) for k, v in theorem(features, *weights, *labels).items()}
    return out, {}
