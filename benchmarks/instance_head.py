"""What telling images apart costs: the softmax within the super-class (Eq. 5) against the full one (Eq. 3).

Forward and backward with dense gradients, in one process, interleaved, medians. The products are the three that the
full softmax cannot avoid (logits, gradient of the features, gradient of the weights). Beside ours stand PyTorch's own
cross entropy, the loop over super-classes as one would first write it, and that loop over views of weights that are
sorted by super-class, as they come (split views) or first of all (gathered views). A step is forward, backward and SGD
update of a ResNet-18 with the 32-pixel stem, without an instance head and with either one. The last case is of a size
that must fit beside a training: peak memory of a process of its own.

    python benchmarks/instance_head.py [--out record.json]
"""

from functools import partial

import torch
import torch.nn.functional as F
from measure import begin, gradients, growth, interleaved, peak_megabytes, training_step
from record import over, report, same, versions
from torch import Tensor

from fglib.config import ModelConfig
from fglib.losses import instance_cross_entropy, instance_cross_entropy_within
from fglib.models import build_trunk

FULL, WITHIN, SORTED = "full softmax", "within super-class", "within, sorted by class"


def main() -> None:
    args = begin(
        __doc__,
        repeats=7,
        images=(50_000, "training images n"),
        dim=(512, "dimensions d"),
        batch=(256, "images of a batch"),
        superclasses=(20, "super-classes"),
        step_batch=(128, "batch of the whole step"),
        step_repeats=(3, "runs of the whole step"),
        large_images=(1_200_000, "images of the case that must fit"),
        large_dim=(256, "its dimensions"),
    )
    rest = args.dim, args.batch, args.superclasses
    large = args.large_images, args.large_dim, *rest[1:]
    peak = f"peak GB of a process, {args.large_images:,} x {args.large_dim}, "

    pieces = pieces_of(args.images, *rest)
    superclass = pieces[WITHIN].args[-1]
    seconds = interleaved(pieces, args.repeats)
    seconds |= interleaved(whole_steps(args.images, args.step_batch, superclass), args.step_repeats)
    agreement = {}
    for ours, theirs, of in (
        (FULL, "F.cross_entropy", "F.cross_entropy"),
        (WITHIN, "naive loop", "the naive loop"),
        (WITHIN, "gathered views", "gathered views"),
        (SORTED, "split views", "split views"),
    ):
        parts = (f"{part} of {ours} and {of}" for part in ("loss", "gradient of features", "gradient of weights"))
        agreement |= same(parts, pieces[ours](), pieces[theirs]())
    report(
        "instance_head",
        seconds,
        ratios={"within / full": (WITHIN, FULL), "within, sorted / full": (SORTED, FULL)}
        | over(FULL, ("naive loop", "gathered views", "split views"), "full")
        | {
            "full / F.cross_entropy": (FULL, "F.cross_entropy"),
            "full / three products": (FULL, "three products"),
            "step with full head / without": ("step, full softmax", "step, no instance head"),
            "step with head within / without": ("step, within super-class", "step, no instance head"),
        },
        work={
            "n": args.images,
            "d": args.dim,
            "batch": args.batch,
            "superclasses": args.superclasses,
            "batch of a step": args.step_batch,
        },
        out=args.out,
        measured={
            peak + name: peak_megabytes(one_pass, (name, 512, *large[1:]), (name, *large), args.threads)[1] / 1000
            for name in (FULL, WITHIN, SORTED)
        },
        peers=versions({"F.cross_entropy": "torch"}),
        targets={"within, sorted / full": "<= 0.2", "full / F.cross_entropy": "<= 1.05"}
        | {peak + name: "<= 8" for name in (FULL, WITHIN, SORTED)},
        agreement=agreement,
        notes=("Sorted: the slots of a super-class lie side by side, as in a set that was read folder by folder.",),
        growth=growth("the images", lambda scale: grown(int(scale * args.images), *rest), args.repeats),
    )


def make(images: int, dim: int, batch: int, superclasses: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, weights, index and super-classes in random order."""
    features = (0.1 * torch.randn(batch, dim)).requires_grad_()
    weight = torch.randn(images, dim).mul_(0.1).requires_grad_()
    superclass = torch.arange(images)[torch.randperm(images)] % superclasses
    return features, weight, torch.randperm(images)[:batch], superclass


def pieces_of(*sizes: int) -> dict[str, partial]:
    """The products, and each loss with its gradients."""
    features, weight, index, superclass = make(*sizes)
    given, by_class = (features, weight, index), superclass.sort().values
    return {
        "three products": partial(products, features, weight),
        FULL: partial(gradients, instance_cross_entropy, *given),
        "F.cross_entropy": partial(gradients, plain, *given),
        WITHIN: partial(gradients, instance_cross_entropy_within, *given, superclass),
        "naive loop": partial(gradients, naive_loop, *given, superclass),
        "gathered views": partial(gradients, gathered_views, *given, superclass),
        SORTED: partial(gradients, instance_cross_entropy_within, *given, by_class),
        "split views": partial(gradients, split_views, *given, by_class),
    }


def grown(*sizes: int) -> dict[str, partial]:
    """The pieces whose growth is shown."""
    pieces = pieces_of(*sizes)
    return {name: pieces[name] for name in ("three products", FULL, WITHIN, SORTED)}


def one_pass(name: str, *sizes: int) -> partial:
    """One loss on arguments of its own, for its peak memory."""
    return pieces_of(*sizes)[name]


@torch.no_grad()
def products(features: Tensor, weight: Tensor) -> None:
    logits = features @ weight.T
    kept = logits @ weight, logits.T @ features
    del kept


def plain(features: Tensor, weight: Tensor, index: Tensor) -> Tensor:
    return F.cross_entropy(features @ weight.T, index)


def naive_loop(features: Tensor, weight: Tensor, index: Tensor, superclass: Tensor) -> Tensor:
    """Eq. 5 as one would first write it."""
    total = 0
    for b in superclass[index].unique():
        rows, members = superclass[index] == b, (superclass == b).nonzero().squeeze(1)
        own = torch.searchsorted(members, index[rows])
        total = total + F.cross_entropy(features[rows] @ weight[members].T, own, reduction="sum")
    return total / len(index)


def split_views(features: Tensor, weight: Tensor, index: Tensor, superclass: Tensor) -> Tensor:
    """The same loop where slots are sorted by super-class: views of the weights, whose gradients are put together."""
    sizes, total, start = superclass.bincount().tolist(), 0, 0
    for members, size in zip(weight.split(sizes), sizes):
        rows = (index >= start) & (index < start + size)
        total = total + F.cross_entropy(features[rows] @ members.T, index[rows] - start, reduction="sum")
        start += size
    return total / len(index)


def gathered_views(features: Tensor, weight: Tensor, index: Tensor, superclass: Tensor) -> Tensor:
    """And where they are not: the weights are sorted once, so that one gradient of full size is put in order."""
    order = superclass.argsort(stable=True)
    return split_views(features, weight.index_select(0, order), order.argsort()[index], superclass[order])


def whole_steps(images: int, batch: int, superclass: Tensor) -> dict:
    """Training steps of a ResNet-18 at 32 pixels with three losses, each on a network of its own."""
    pixels = torch.rand(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    index = torch.randperm(images)[:batch]

    losses = {
        "step, no instance head": lambda f, w: f.square().mean(),
        "step, full softmax": lambda f, w: instance_cross_entropy(f, w, index),
        "step, within super-class": lambda f, w: instance_cross_entropy_within(f, w, index, superclass),
    }
    pieces = {}
    for name, loss in losses.items():
        trunk = build_trunk(ModelConfig("resnet18", stem="32px")).to(memory_format=torch.channels_last)
        parameters, weight = list(trunk.parameters()), None
        if "no instance head" not in name:
            weight = torch.nn.Parameter(0.01 * torch.randn(images, trunk.dim))
            parameters.append(weight)
        optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, weight_decay=5e-4)
        pieces[name] = partial(training_step, optimizer, lambda t=trunk, w=weight, loss=loss: loss(t(pixels), w))
    return pieces


if __name__ == "__main__":
    main()
