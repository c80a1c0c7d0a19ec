"""What bilinear attention pooling (Coarse2Fine Eq. 1) costs beside one einsum on the same shapes.

Forward and backward with regard to features and attention maps, in one process, interleaved, medians. The usual recipe
multiplies the features by one attention map after the other and averages each product, a copy of the features per map.

    python benchmarks/attention_pooling.py [--out record.json]
"""

from functools import partial

import torch
from measure import begin, gradients, growth, interleaved
from record import over, report, same
from torch import Tensor

from fglib.models import bilinear_attention_pool


def main() -> None:
    args = begin(
        __doc__,
        repeats=7,
        batch=(32, "images"),
        channels=(768, "channels of the features N"),
        side=(26, "height and width of the features"),
        maps=(8, "attention maps M"),
    )

    def pieces(scale: float = 1.0) -> dict:
        batch = int(scale * args.batch)
        features = torch.randn(batch, args.channels, args.side, args.side, requires_grad=True)
        attention = torch.rand(batch, args.maps, args.side, args.side, requires_grad=True)
        upstream = torch.randn(batch, args.maps, args.channels)
        pools = {"attention pooling": bilinear_attention_pool, "einsum": one_einsum, "usual recipe": usual_recipe}
        return {name: partial(gradients, pool, features, attention, upstream=upstream) for name, pool in pools.items()}

    given = pieces()
    report(
        "attention_pooling",
        interleaved(given, args.repeats),
        ratios=over("einsum", ("attention pooling", "usual recipe")),
        work={"batch": args.batch, "channels": args.channels, "side": args.side, "maps": args.maps},
        out=args.out,
        agreement=same(
            [f"{part} of the usual recipe" for part in ("values", "gradient of features", "gradient of attention")],
            given["attention pooling"](),
            given["usual recipe"](),
        ),
        growth=growth("the batch", pieces, args.repeats),
    )


def one_einsum(features: Tensor, attention: Tensor) -> Tensor:
    """The product alone: sums where the pooling takes means."""
    return torch.einsum("bnhw,bmhw->bmn", features, attention)


def usual_recipe(features: Tensor, attention: Tensor) -> Tensor:
    """One map at a time, as it is mostly written."""
    maps = attention.split(1, dim=1)
    return torch.stack([(features * each).mean((2, 3)) for each in maps], 1)


if __name__ == "__main__":
    main()
