"""What the target network's moving average costs beside a training step (Grafit, Section 3.1).

One process, interleaved, medians. A step is forward, backward and SGD update of a ResNet-50 on random images, without
head and loss to speak of; the average is over all its parameters and buffers.

    python benchmarks/ema.py [--out record.json]
"""

import copy

import torch
from measure import begin, interleaved, options
from record import report

from fglib.config import ModelConfig
from fglib.models import build_trunk, ema_update_


def main() -> None:
    parser = options(__doc__, repeats=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=64, help="pixels of the square images")
    args = parser.parse_args()
    begin(args)
    online = build_trunk(ModelConfig("resnet50")).to(memory_format=torch.channels_last)
    target = copy.deepcopy(online).requires_grad_(False)
    optimizer = torch.optim.SGD(online.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=5e-4)
    pixels = torch.rand(args.batch, 3, args.size, args.size).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        optimizer.zero_grad()
        online(pixels).square().mean().backward()
        optimizer.step()

    seconds = interleaved(
        {"training step": step, "moving average": lambda: ema_update_(target, online, 0.996)}, args.repeats
    )
    report(
        "ema",
        seconds,
        ratios={"average / step": ("moving average", "training step")},
        work={
            "parameters": sum(p.numel() for p in online.parameters()),
            "batch": args.batch,
            "pixels": args.size,
        },
        out=args.out,
    )


if __name__ == "__main__":
    main()
