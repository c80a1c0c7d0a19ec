"""What exact retrieval costs beyond the product of all similarities, which nothing can avoid, beside its peers.

One process, interleaved, medians; embeddings of unit length and random labels. The product runs in chunks of 512
queries, as do the peers written with torch alone. Complete rankings are compared at a quarter of the queries and of the
gallery, each with the product of that size: pytorch-metric-learning holds several tables of all pairs, 4 GB each at
full size.

    python benchmarks/retrieval.py [--small] [--out record.json]
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from measure import begin, growth, interleaved, peak_megabytes
from record import over, report, versions
from torch import Tensor

from fglib.retrieval import evaluate_retrieval

KS = (1, 2, 4, 8)
CHUNK = 512  # queries
Task = tuple[Tensor, Tensor, Tensor, Tensor]  # queries (Q, d) and labels (Q,), gallery (n, d) and labels (n,)


def main() -> None:
    args = begin(
        __doc__,
        repeats=3,
        small=(False, "2,000 queries and 10,000 gallery items, for a quick look"),
        dim=(128, "dimensions d"),
        classes=(100, "classes"),
    )
    peers = versions(
        {
            "faiss, recall": "faiss-cpu",
            "pytorch-metric-learning, mAP, quarter": "pytorch-metric-learning",
            "torchmetrics, mAP, quarter": "torchmetrics",
        }
    )
    queries, n = (2_000, 10_000) if args.small else (10_000, 50_000)
    rest = args.dim, args.classes
    task, quarter = make(queries, n, *rest), make(queries // 4, n // 4, *rest)
    whole = {
        "product": product,
        "recall": recall,
        "faiss, recall": faiss_recall,
        "torch topk, recall": topk_recall,
        "recall and mAP": precision,
    }
    quarters = {
        "product, quarter": product,
        "recall and mAP, quarter": precision,
        "torch argsort, mAP, quarter": argsort_precision,
        "pytorch-metric-learning, mAP, quarter": pml_precision,
        "torchmetrics, mAP, quarter": torchmetrics_precision,
    }
    of_all, of_quarter = recall(task), precision(quarter)
    report(
        "retrieval",
        interleaved(on(task, whole), args.repeats) | interleaved(on(quarter, quarters), args.repeats),
        ratios=over("product", [*whole][1:]) | over("product, quarter", [*quarters][1:], "product"),
        work={"queries": queries, "gallery": n, "d": args.dim, "classes": args.classes},
        out=args.out,
        measured={
            f"peak MB beyond the inputs, {piece}": peak_megabytes(
                evaluation, (run, 64, 4096, *rest), (run, queries // part, n // part, *rest), args.threads
            )[0]
            for piece, run, part in (
                ("recall", recall, 1),
                ("recall and mAP", precision, 1),
                ("recall and mAP, quarter", precision, 4),
                ("pytorch-metric-learning, mAP, quarter", pml_precision, 4),
            )
        },
        targets={
            "recall / product": "<= 2",
            "recall and mAP / product": "<= 7.5",
            "peak MB beyond the inputs, recall and mAP": "<= 150",
        },
        peers=peers,
        agreement={
            "recall, faiss": (of_all, faiss_recall(task), 1e-6),
            "recall, torch topk": (of_all, topk_recall(task), 1e-6),
            "mAP, torch argsort": (of_quarter, argsort_precision(quarter), 1e-6),
            "mAP, pytorch-metric-learning": (of_quarter, pml_precision(quarter), 1e-6),
            "mAP, torchmetrics": (of_quarter, torchmetrics_precision(quarter), 1e-6),
        },
        notes=(
            "The target of recall is that of a search without an index library; ours uses none.",
            "Quarter: a quarter of the queries and of the gallery.",
            "torchmetrics counts similarities up to zero as not retrieved: it is given similarity + 1.",
        ),
        growth=growth(
            "the gallery, at a quarter of the queries",
            lambda scale: on(
                make(queries // 4, int(scale * n), *rest),
                {name: whole[name] for name in ("product", "recall", "recall and mAP")},
            ),
            args.repeats,
        ),
    )


def make(queries: int, n: int, dim: int, classes: int) -> Task:
    """Random unit vectors and labels; nothing as large as the gallery is made beside it."""
    query, gallery = torch.randn(queries, dim), torch.randn(n, dim)
    for vectors in (query, gallery):
        vectors /= vectors.norm(dim=1, keepdim=True)
    return query, torch.randint(classes, (queries,)), gallery, torch.randint(classes, (n,))


def on(task: Task, runs: dict[str, Callable[[Task], object]]) -> dict[str, partial]:
    """The pieces that run on a task."""
    return {name: partial(run, task) for name, run in runs.items()}


def evaluation(run: Callable[[Task], object], *sizes: int) -> partial:
    """An evaluation of a task of its own, for its peak memory."""
    return partial(run, make(*sizes))


def similarities(task: Task) -> Iterator[tuple[Tensor, Tensor]]:
    """For each chunk of queries their labels and similarities."""
    query, labels, gallery, _ = task
    for rows, of_rows in zip(query.split(CHUNK), labels.split(CHUNK)):
        yield of_rows, rows @ gallery.T


def product(task: Task) -> None:
    for _ in similarities(task):
        pass


def recall(task: Task) -> list[float]:
    return list(evaluate_retrieval(*task, ks=KS, average_precision=False).recall.values())


def precision(task: Task) -> float:
    return evaluate_retrieval(*task, ks=KS).mean_average_precision


def recall_of(relevant: Tensor) -> list[float]:
    """Recall at each k of what is relevant (Q, 8) among the first; every query has a relevant item."""
    return [relevant[:, :k].any(1).double().mean().item() for k in KS]


def faiss_recall(task: Task) -> list[float]:
    """The exact index of inner products."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    query, labels, gallery, gallery_labels = task
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery.numpy())
    found = torch.from_numpy(index.search(query.numpy(), max(KS))[1])
    return recall_of(gallery_labels[found] == labels[:, None])


def topk_recall(task: Task) -> list[float]:
    """As it is mostly written: topk of each chunk."""
    parts = [task[3][s.topk(max(KS)).indices] == labels[:, None] for labels, s in similarities(task)]
    return recall_of(torch.cat(parts))


def argsort_precision(task: Task) -> float:
    """As it is mostly written: argsort of each chunk, precision at every rank, mean over the relevant ones."""
    place = torch.arange(1, len(task[2]) + 1)
    parts = []
    for labels, similarity in similarities(task):
        relevant = task[3][similarity.argsort(1, descending=True)] == labels[:, None]
        at_rank = relevant.cumsum(1).double() / place
        parts.append((at_rank * relevant).sum(1) / relevant.sum(1))
    return torch.cat(parts).mean().item()


def pml_precision(task: Task) -> float:
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    name = "mean_average_precision"
    return AccuracyCalculator(include=(name,), device=torch.device("cpu")).get_accuracy(*task)[name]


def torchmetrics_precision(task: Task) -> float:
    from torchmetrics.retrieval import RetrievalMAP

    score, first = RetrievalMAP(), 0
    for labels, similarity in similarities(task):
        query = torch.arange(first, first + len(labels))[:, None].expand_as(similarity)
        score.update(similarity + 1, task[3] == labels[:, None], query)
        first += len(labels)
    return score.compute().item()


if __name__ == "__main__":
    main()
