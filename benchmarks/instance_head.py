"""What telling images apart costs: the softmax within the super-class (Eq. 5) against the full one (Eq. 3).

Forward and backward with dense gradients, in one process, interleaved, medians. The products are the three that the
full softmax cannot avoid (logits, gradient of the features, gradient of the weights). Beside ours stand PyTorch's own
cross entropy, the loop over super-classes as one would first write it, and that loop over views of weights that are
split by super-class. A step is forward, backward and SGD update of a ResNet-18 with the 32-pixel stem, without an
instance head and with either one. The last case is of a size that must fit beside a training: peak memory of a process
of its own.

    python benchmarks/instance_head.py [--out record.json]
"""

from functools import partial

import torch
import torch.nn.functional as F
from measure import begin, growth, interleaved, options, peak_megabytes
from record import report, versions
from torch import Tensor

from fglib.config import ModelConfig
from fglib.losses import instance_cross_entropy, instance_cross_entropy_within
from fglib.models import build_trunk

FULL, WITHIN, SORTED = "full softmax", "within super-class", "within, sorted by class"


def main() -> None:
    parser = options(__doc__, repeats=7)
    parser.add_argument("--images", type=int, default=50_000, help="training images n")
    parser.add_argument("--dim", type=int, default=512, help="dimensions d")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--superclasses", type=int, default=20)
    parser.add_argument("--step-batch", type=int, default=128, help="batch of the whole step")
    parser.add_argument("--step-repeats", type=int, default=3)
    parser.add_argument("--large-images", type=int, default=1_200_000, help="images of the case that must fit")
    parser.add_argument("--large-dim", type=int, default=256, help="its dimensions")
    args = parser.parse_args()
    begin(args)
    rest = args.dim, args.batch, args.superclasses
    large = args.large_images, args.large_dim, *rest[1:]

    losses = losses_of(*make(args.images, *rest))
    pieces = {"three products": products(*make(args.images, *rest))}
    pieces |= {name: partial(step, *loss) for name, loss in losses.items()}
    seconds = interleaved(pieces, args.repeats)
    superclass = losses[WITHIN][-1]
    seconds |= interleaved(whole_steps(args.images, args.step_batch, superclass), args.step_repeats)
    full = step(*losses[FULL]), step(*losses["F.cross_entropy"])
    shuffled = step(*losses[WITHIN]), step(*losses["naive loop"])
    by_class = step(*losses[SORTED]), step(*losses["split views"])
    report(
        "instance_head",
        seconds,
        ratios={
            "within / full": (WITHIN, FULL),
            "within, sorted / full": (SORTED, FULL),
            "naive loop / full": ("naive loop", FULL),
            "split views / full": ("split views", FULL),
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
            f"peak GB of a process, {args.large_images:,} x {args.large_dim}, {name}": peak_megabytes(
                one_pass, (name, 512, *large[1:]), (name, *large), args.threads
            )[1]
            / 1000
            for name in (FULL, WITHIN, SORTED)
        },
        peers=versions({"F.cross_entropy": "torch"}),
        targets={
            "within, sorted / full": "<= 0.2",
            "full / F.cross_entropy": "<= 1.05",
        }
        | {
            f"peak GB of a process, {args.large_images:,} x {args.large_dim}, {n}": "<= 8"
            for n in (FULL, WITHIN, SORTED)
        },
        agreement={
            f"{what} of {ours} and {theirs}": (one, other, 1e-5)
            for ours, theirs, (first, second) in (
                (FULL, "F.cross_entropy", full),
                (WITHIN, "the naive loop", shuffled),
                (SORTED, "split views", by_class),
            )
            for what, one, other in zip(("loss", "gradient of features", "gradient of weights"), first, second)
        },
        notes=("Sorted: the slots of a super-class lie side by side, as in a set that was read folder by folder.",),
        growth=growth("the images", lambda scale: main_pieces(int(scale * args.images), *rest), args.repeats),
    )


def make(images: int, dim: int, batch: int, superclasses: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, weights, index and super-classes in random order."""
    features = (0.1 * torch.randn(batch, dim)).requires_grad_()
    weight = torch.randn(images, dim).mul_(0.1).requires_grad_()
    superclass = torch.arange(images)[torch.randperm(images)] % superclasses
    return features, weight, torch.randperm(images)[:batch], superclass


def losses_of(features: Tensor, weight: Tensor, index: Tensor, superclass: Tensor) -> dict[str, tuple]:
    """Each loss with its arguments."""
    given, by_class = (features, weight, index), superclass.sort().values
    return {
        FULL: (instance_cross_entropy, *given),
        "F.cross_entropy": (plain, *given),
        WITHIN: (instance_cross_entropy_within, *given, superclass),
        "naive loop": (naive_loop, *given, superclass),
        SORTED: (instance_cross_entropy_within, *given, by_class),
        "split views": (split_views, *given, by_class),
    }


def main_pieces(*sizes: int) -> dict:
    """The pieces whose growth is shown."""
    arguments = make(*sizes)
    losses = losses_of(*arguments)
    return {"three products": products(*arguments)} | {n: partial(step, *losses[n]) for n in (FULL, WITHIN, SORTED)}


def one_pass(name: str, *sizes: int) -> partial:
    """One loss on arguments of its own, for its peak memory."""
    return partial(step, *losses_of(*make(*sizes))[name])


def step(loss, features: Tensor, weight: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and both gradients."""
    features.grad = weight.grad = None
    value = loss(features, weight, *rest)
    value.backward()
    return value.detach(), features.grad, weight.grad


def products(features: Tensor, weight: Tensor, *_: Tensor) -> partial:
    def run() -> None:
        with torch.no_grad():
            logits = features @ weight.T
            kept = logits @ weight, logits.T @ features
            del kept

    return run


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


def whole_steps(images: int, batch: int, superclass: Tensor) -> dict:
    """Training steps of a ResNet-18 at 32 pixels with three losses, each on a network of its own."""
    pixels = torch.rand(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    index = torch.randperm(images)[:batch]

    def step(trunk, weight, optimizer, loss) -> None:
        optimizer.zero_grad()
        loss(trunk(pixels), weight).backward()
        optimizer.step()

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
        pieces[name] = partial(step, trunk, weight, optimizer, loss)
    return pieces


if __name__ == "__main__":
    main()
