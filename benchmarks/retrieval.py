"""What exact retrieval costs beyond the product of all similarities, which nothing can avoid.

One process, interleaved, medians; embeddings of unit length and random labels. The product runs in the same chunks.

    python benchmarks/retrieval.py [--full] [--out record.json]
"""

import argparse

import torch
from record import interleaved, report

from fglib.retrieval import CHUNK_BYTES, evaluate_retrieval
from fglib.retrieval.similarity import chunks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="10,000 queries and 50,000 gallery items")
    parser.add_argument("--dim", type=int, default=128, help="dimensions d")
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--chunk-mb", type=int, default=CHUNK_BYTES // 2**20, help="memory to work in")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", help="write the record to this file, JSON")
    args = parser.parse_args()
    queries, n = (10_000, 50_000) if args.full else (2_000, 10_000)

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    query = torch.nn.functional.normalize(torch.randn(queries, args.dim))
    gallery = torch.nn.functional.normalize(torch.randn(n, args.dim))
    labels = torch.randint(args.classes, (queries,)), torch.randint(args.classes, (n,))
    chunk_bytes = args.chunk_mb * 2**20

    def product() -> None:
        for rows in chunks(query, gallery, chunk_bytes):
            query[rows] @ gallery.T

    def evaluate(average_precision: bool):
        return lambda: evaluate_retrieval(
            query, labels[0], gallery, labels[1], average_precision=average_precision, chunk_bytes=chunk_bytes
        )

    seconds = interleaved(
        {"product": product, "recall": evaluate(False), "recall and mAP": evaluate(True)}, args.repeats
    )
    report(
        "retrieval",
        seconds,
        ratios={"recall / product": ("recall", "product"), "recall and mAP / product": ("recall and mAP", "product")},
        work={"queries": queries, "gallery": n, "d": args.dim, "classes": args.classes},
        out=args.out,
    )


if __name__ == "__main__":
    main()
