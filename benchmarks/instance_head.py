"""What telling images apart costs: the softmax within the super-class (Eq. 5) against the full one (Eq. 3).

Forward and backward with dense gradients, in one process, interleaved, medians. The products are the three that the
full softmax cannot avoid (logits, gradient of the features, gradient of the weights).

    python benchmarks/instance_head.py [--out record.json]
"""

import argparse
from functools import partial

import torch
from record import interleaved, report

from fglib.losses import instance_cross_entropy, instance_cross_entropy_within


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000, help="training images n")
    parser.add_argument("--dim", type=int, default=512, help="dimensions d")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--superclasses", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
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
    report(
        "instance_head",
        seconds,
        ratios={
            "within / full": ("within super-class", "full softmax"),
            "within, sorted / full": ("within, sorted by class", "full softmax"),
            "full / three products": ("full softmax", "three products"),
        },
        work={"n": args.images, "d": args.dim, "batch": args.batch, "superclasses": args.superclasses},
        out=args.out,
    )


if __name__ == "__main__":
    main()
