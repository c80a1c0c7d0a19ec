"""What bilinear attention pooling (Coarse2Fine Eq. 1) costs beside one einsum on the same shapes.

Forward and backward with regard to features and attention maps, in one process, interleaved, medians. The usual recipe
multiplies the features by one attention map after the other and averages each product, a copy of the features per map.

    python benchmarks/attention_pooling.py [--out record.json]
"""

import argparse
from functools import partial

import torch
from record import interleaved, report
from torch import Tensor

from fglib.models import bilinear_attention_pool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--channels", type=int, default=768, help="channels of the features N")
    parser.add_argument("--side", type=int, default=26, help="height and width of the features")
    parser.add_argument("--maps", type=int, default=8, help="attention maps M")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", help="write the record to this file, JSON")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    features = torch.randn(args.batch, args.channels, args.side, args.side, requires_grad=True)
    attention = torch.rand(args.batch, args.maps, args.side, args.side, requires_grad=True)
    upstream = torch.randn(args.batch, args.maps, args.channels)
    pools = {"attention pooling": bilinear_attention_pool, "einsum": one_einsum, "usual recipe": usual_recipe}
    seconds = interleaved(
        {name: partial(step, pool, features, attention, upstream) for name, pool in pools.items()}, args.repeats
    )
    report(
        "attention_pooling",
        seconds,
        ratios={
            "attention pooling / einsum": ("attention pooling", "einsum"),
            "usual recipe / einsum": ("usual recipe", "einsum"),
        },
        work={"batch": args.batch, "channels": args.channels, "side": args.side, "maps": args.maps},
        out=args.out,
    )


def step(pool, features: Tensor, attention: Tensor, upstream: Tensor) -> None:
    torch.autograd.grad(pool(features, attention), (features, attention), upstream)


def one_einsum(features: Tensor, attention: Tensor) -> Tensor:
    """The product alone: sums where the pooling takes means."""
    return torch.einsum("bnhw,bmhw->bmn", features, attention)


def usual_recipe(features: Tensor, attention: Tensor) -> Tensor:
    """One map at a time, as it is mostly written."""
    maps = attention.split(1, dim=1)
    return torch.stack([(features * each).mean((2, 3)) for each in maps], 1)


if __name__ == "__main__":
    main()
