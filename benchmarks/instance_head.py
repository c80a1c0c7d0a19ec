"""What telling images apart costs: the softmax within the super-class (Eq. 5) against the full one (Eq. 3).

Forward and backward with dense gradients, in one process, interleaved, medians. The products are the three that the
full softmax cannot avoid (logits, gradient of the features, gradient of the weights). A step is forward, backward and
SGD update of a ResNet-18 with the 32-pixel stem, without an instance head and with either one.

    python benchmarks/instance_head.py [--out record.json]
"""

import argparse
from functools import partial

import torch
from record import interleaved, report

from fglib.config import ModelConfig
from fglib.losses import instance_cross_entropy, instance_cross_entropy_within
from fglib.models import build_trunk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000, help="training images n")
    parser.add_argument("--dim", type=int, default=512, help="dimensions d")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--superclasses", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--step-batch", type=int, default=128, help="batch of the whole step")
    parser.add_argument("--step-repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", help="write the record to this file, JSON")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    features = (0.1 * torch.randn(args.batch, args.dim)).requires_grad_()
    weight = (0.1 * torch.randn(args.images, args.dim)).requires_grad_()
    index = torch.randperm(args.images)[: args.batch]
    shuffled = torch.arange(args.images)[torch.randperm(args.images)] % args.superclasses
    by_folder = shuffled.sort().values

    def products() -> None:
        with torch.no_grad():
            logits = features @ weight.T
            kept = logits @ weight, logits.T @ features
            del kept

    def step(loss, *extra) -> None:
        features.grad = weight.grad = None
        loss(features, weight, index, *extra).backward()

    seconds = interleaved(
        {
            "three products": products,
            "full softmax": partial(step, instance_cross_entropy),
            "within super-class": partial(step, instance_cross_entropy_within, shuffled),
            "within, sorted by class": partial(step, instance_cross_entropy_within, by_folder),
        },
        args.repeats,
    )
    seconds |= interleaved(whole_steps(args.images, args.step_batch, shuffled), args.step_repeats)
    report(
        "instance_head",
        seconds,
        ratios={
            "within / full": ("within super-class", "full softmax"),
            "within, sorted / full": ("within, sorted by class", "full softmax"),
            "full / three products": ("full softmax", "three products"),
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
    )


def whole_steps(images: int, batch: int, superclass: torch.Tensor) -> dict:
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
