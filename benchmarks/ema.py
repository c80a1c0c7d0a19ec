"""What the target network's moving average costs beside a training step (Grafit, Section 3.1).

One process, interleaved, medians. A step is forward, backward and SGD update of a ResNet-50 on random images, without
head and loss to speak of; the average is over all its parameters and buffers.

    python benchmarks/ema.py [--out record.json]
"""

import copy
from functools import partial

import torch
from measure import begin, interleaved, training_step
from record import report

from fglib.config import ModelConfig
from fglib.models import build_trunk, ema_update_


def main() -> None:
    args = begin(__doc__, repeats=3, batch=(32, "images"), size=(64, "pixels of the square images"))
    online = build_trunk(ModelConfig("resnet50")).to(memory_format=torch.channels_last)
    target = copy.deepcopy(online).requires_grad_(False)
    optimizer = torch.optim.SGD(online.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=5e-4)
    pixels = torch.rand(args.batch, 3, args.size, args.size).contiguous(memory_format=torch.channels_last)
    pieces = {
        "training step": partial(training_step, optimizer, lambda: online(pixels).square().mean()),
        "moving average": partial(ema_update_, target, online, 0.996),
    }
    report(
        "ema",
        interleaved(pieces, args.repeats),
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
