"""What one class per image costs: multiply-adds of the instance head, whole and within the super-class.

Forward pass, per image; a training step takes about three times as many. n images, d dimensions.
"""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import nn

from fglib.config import ModelConfig
from fglib.methods import METHODS, Task
from fglib.models import build_trunk


def head_multiply_adds(n: int, d: int) -> int:
    """Multiply-adds per image of the n-way instance head (Eq. 3): one product of d for every training image."""
    if n < 1 or d < 1:
        raise ValueError(f"n and d must be at least 1, got {n} and {d}")
    return n * d


def head_multiply_adds_within(counts: Sequence[int], d: int) -> Fraction:
    """Expected multiply-adds per image of the head within the super-class (Eq. 5), exactly.

    counts: images of each super-class. An image of a super-class of n_b images needs n_b d; it comes n_b / n of the
    time.
    """
    counts = [int(c) for c in counts]
    if not counts or min(counts) < 0 or sum(counts) == 0 or d < 1:
        raise ValueError(f"counts must be images per super-class and d at least 1, got {counts} and {d}")
    return Fraction(sum(c * c for c in counts) * d, sum(counts))


def head_ratio(counts: Sequence[int] = (2500,) * 20, d: int = 512) -> dict[str, float]:
    """Share of the full head's multiply-adds that the head within the super-class needs; CIFAR-100's by default."""
    return {"ratio": float(head_multiply_adds_within(counts, d) / head_multiply_adds(sum(counts), d))}


def trunk_multiply_adds(trunk: nn.Module, size: int) -> int:
    """Multiply-adds of one forward pass of a network on one image of size x size pixels, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    training = trunk.training
    trunk.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        trunk(torch.zeros(1, 3, size, size, device=next(trunk.parameters()).device))
    trunk.train(training)
    return counter.get_total_flops() // 2  # a multiply-add counts as two operations


def attention_parameters(maps: int = 8, backbone: str = "inception_v3", layer: str = "Mixed_6e") -> dict[str, int]:
    """Weights of the attention convolution on a layer of a network (Coarse2Fine, Setup), counted on the method itself.

    Returns {"channels": of that layer, "parameters": of the convolution}.
    """
    with torch.device("meta"):  # shapes only: nothing is drawn
        trunk = build_trunk(ModelConfig(backbone, layer=layer))
        method = METHODS["bap"](trunk, Task(2, 2, torch.zeros(2, dtype=torch.long)), maps=maps, orthogonal=False)
    return {"channels": trunk.dim, "parameters": _weights(method.attention)}


def method_parameters(backbone: str = "resnet50", classes: int = 200) -> dict[str, int]:
    """Trainable weights of the plain network and of "Subtle Differences" on it, and of torchvision's own (Table 2).

    Returns {"network": torchvision's, with a classifier of that many classes, "plain": the method of that name,
    "db_gce": with the block and the loss}.
    """
    from torchvision.models import get_model

    task = Task(2, classes, torch.zeros(2, dtype=torch.long))
    with torch.device("meta"):  # shapes only: nothing is drawn
        networks = {"network": get_model(backbone, weights=None, num_classes=classes)}
        networks |= {name: METHODS[name](build_trunk(ModelConfig(backbone)), task) for name in ("plain", "db_gce")}
    return {name: _weights(network) for name, network in networks.items()}


def _weights(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
