"""What bilinear attention pooling (Coarse2Fine Eq. 1) costs beside one einsum on the same shapes.

Forward and backward with regard to features and attention maps, in one process, interleaved, medians. The usual recipe
multiplies the features by one attention map after the other and averages each product, a copy of the features per map.

    python benchmarks/attention_pooling.py [--out record.json]
"""

from functools import partial

import torch
from measure import begin, growth, interleaved, options
from record import report
from torch import Tensor

from fglib.models import bilinear_attention_pool


def main() -> None:
    parser = options(__doc__, repeats=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--channels", type=int, default=768, help="channels of the features N")
    parser.add_argument("--side", type=int, default=26, help="height and width of the features")
    parser.add_argument("--maps", type=int, default=8, help="attention maps M")
    args = parser.parse_args()
    begin(args)

    def pieces(scale: float = 1.0) -> dict:
        batch = int(scale * args.batch)
        features = torch.randn(batch, args.channels, args.side, args.side, requires_grad=True)
        attention = torch.rand(batch, args.maps, args.side, args.side, requires_grad=True)
        upstream = torch.randn(batch, args.maps, args.channels)
        pools = {"attention pooling": bilinear_attention_pool, "einsum": one_einsum, "usual recipe": usual_recipe}
        return {name: partial(step, pool, features, attention, upstream) for name, pool in pools.items()}

    given = pieces()
    seconds = interleaved(given, args.repeats)
    ours, usual = given["attention pooling"](), given["usual recipe"]()
    report(
        "attention_pooling",
        seconds,
        ratios={
            "attention pooling / einsum": ("attention pooling", "einsum"),
            "usual recipe / einsum": ("usual recipe", "einsum"),
        },
        work={"batch": args.batch, "channels": args.channels, "side": args.side, "maps": args.maps},
        out=args.out,
        agreement={
            f"{what} of the usual recipe": (one, other, 1e-5)
            for what, one, other in zip(("values", "gradient of features", "gradient of attention"), ours, usual)
        },
        growth=growth("the batch", pieces, args.repeats),
    )


def step(pool, features: Tensor, attention: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pooled features and both gradients."""
    pooled = pool(features, attention)
    return pooled.detach(), *torch.autograd.grad(pooled, (features, attention), upstream)


def one_einsum(features: Tensor, attention: Tensor) -> Tensor:
    """The product alone: sums where the pooling takes means."""
    return torch.einsum("bnhw,bmhw->bmn", features, attention)


def usual_recipe(features: Tensor, attention: Tensor) -> Tensor:
    """One map at a time, as it is mostly written."""
    maps = attention.split(1, dim=1)
    return torch.stack([(features * each).mean((2, 3)) for each in maps], 1)


if __name__ == "__main__":
    main()
