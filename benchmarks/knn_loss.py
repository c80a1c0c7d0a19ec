"""What Grafit's kNN loss (Eqs. 2 and 3) and kNN classifier (Eq. 6) cost beyond the products that nothing can avoid.

Forward and backward on unit vectors and random labels, in one process, interleaved, medians. The products are those of
the similarities and of their gradient with regard to the embeddings; a classifier needs the first. The usual recipe is
a masked softmax over the memory and the logarithm of its sum over the class, differentiated automatically.
pytorch-metric-learning's NCALoss with CrossBatchMemory is the same loss but for an image's own slot, which it keeps:
results are compared image by image on a memory without that slot. Peak memory is what a fresh process takes on top of
the inputs.

    python benchmarks/knn_loss.py [--out record.json]
"""

from functools import partial

import torch
import torch.nn.functional as F
from measure import begin, gradients, growth, interleaved, peak_megabytes
from record import over, report, same, versions
from torch import Tensor

from fglib.losses import knn_loss
from fglib.retrieval import knn_probabilities

TEMPERATURE = 0.05
NCA, LIGHTLY = "pytorch-metric-learning NCALoss", "lightly knn_predict"


def main() -> None:
    args = begin(
        __doc__,
        repeats=7,
        images=(50_000, "training images n, the rows of the memory"),
        dim=(128, "dimensions d"),
        batch=(256, "images of a batch"),
        classes=(20, "classes"),
        queries=(1000, "images to classify"),
        k=(200, "neighbours of the classifier"),
    )
    peers = versions({NCA: "pytorch-metric-learning", LIGHTLY: "lightly"})
    rest = args.dim, args.batch, args.classes
    sizes, small = (args.images, *rest), (512, *rest)
    given = make(*sizes)

    nca = nca_with_memory(*given)
    seconds = interleaved(pieces_of(*given) | {NCA: partial(gradients, nca, *given)}, args.repeats)
    query = F.normalize(torch.randn(args.queries, args.dim))
    classify = query, given[1], given[3], args.k, args.classes
    seconds |= interleaved(
        {
            "one product": lambda: query @ given[1].T,
            "kNN classifier": partial(ours_predict, *classify),
            LIGHTLY: partial(lightly_predict, *classify),
        },
        args.repeats,
    )
    report(
        "knn_loss",
        seconds,
        ratios=over("two products", (*LOSSES, NCA)) | over("one product", ("kNN classifier", LIGHTLY)),
        work={
            "n": args.images,
            "d": args.dim,
            "batch": args.batch,
            "classes": args.classes,
            "queries": args.queries,
            "k": args.k,
        },
        out=args.out,
        measured={
            f"peak MB, {name}": peak_megabytes(one_pass, (name, *small), (name, *sizes), args.threads)[0]
            for name in (*LOSSES, NCA)
        },
        peers=peers,
        agreement=same(
            ("loss of the usual recipe", "gradient of the usual recipe"),
            *(gradients(loss, *given) for loss in LOSSES.values()),
        )
        | {
            f"loss of {NCA} without the own slot": (*without_own_slot(*given), 1e-5),
            f"labels of {LIGHTLY}": (ours_predict(*classify), lightly_predict(*classify), 0.0),
        },
        notes=(f"{NCA} keeps an image's own slot, which the loss leaves out; it is timed as it comes.",),
        growth=growth("the memory", lambda scale: pieces_of(*make(int(scale * args.images), *rest)), args.repeats),
    )


def make(images: int, dim: int, batch: int, classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings, a memory of unit length, slots and labels; nothing as large as the memory is made beside it."""
    torch.manual_seed(0)
    memory = torch.randn(images, dim)
    memory /= memory.norm(dim=1, keepdim=True)
    embeddings = torch.randn(batch, dim, requires_grad=True)
    return embeddings, memory, torch.randperm(images)[:batch], torch.randint(classes, (images,))


def pieces_of(*given: Tensor) -> dict:
    def products() -> None:
        with torch.no_grad():
            (given[0] @ given[1].T) @ given[1]

    return {"two products": products} | {name: partial(gradients, loss, *given) for name, loss in LOSSES.items()}


def one_pass(name: str, *sizes: int) -> partial:
    """One loss on arguments of its own, for its peak memory."""
    given = make(*sizes)
    return partial(gradients, nca_with_memory(*given) if name == NCA else LOSSES[name], *given)


def ours(embeddings: Tensor, memory: Tensor, index: Tensor, labels: Tensor) -> Tensor:
    return knn_loss(embeddings, memory, index, labels, temperature=TEMPERATURE)


def usual_recipe(embeddings: Tensor, memory: Tensor, index: Tensor, labels: Tensor) -> Tensor:
    """-log of the class's part of a softmax over the memory, as it is mostly written."""
    weights = (F.normalize(embeddings) @ memory.T / TEMPERATURE).exp()
    weights = weights.scatter(1, index[:, None], 0.0)
    positive = labels[None] == labels[index][:, None]
    return -((weights * positive).sum(1) / weights.sum(1)).log().mean()


LOSSES = {"kNN loss": ours, "usual recipe": usual_recipe}


def nca_loss():
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import NCALoss

    return NCALoss(softmax_scale=1 / TEMPERATURE, distance=CosineSimilarity())


def nca_with_memory(_: Tensor, memory: Tensor, index: Tensor, labels: Tensor):
    """The peer with a full memory. It writes the batch into its queue at every call, as in a training."""
    from pytorch_metric_learning.losses import CrossBatchMemory

    queue = CrossBatchMemory(nca_loss(), memory.shape[1], memory_size=len(memory))
    queue.embedding_memory.copy_(memory)
    queue.label_memory.copy_(labels)
    queue.has_been_filled = True
    return lambda embeddings, *_: queue(embeddings, labels[index])


def without_own_slot(
    embeddings: Tensor, memory: Tensor, index: Tensor, labels: Tensor, images: int = 8
) -> tuple[Tensor, Tensor]:
    """The losses of some images, ours and the peer's, which gets each image twice: one alone it does not take."""
    loss, theirs = nca_loss(), []
    for vector, slot in zip(embeddings[:images], index[:images]):
        others = torch.arange(len(memory)) != slot
        pair = vector.expand(2, -1), labels[slot].expand(2)
        theirs.append(loss(*pair, ref_emb=memory[others], ref_labels=labels[others]))
    chosen = embeddings[:images], memory, index[:images], labels
    return knn_loss(*chosen, temperature=TEMPERATURE, reduction="none"), torch.stack(theirs)


def ours_predict(query: Tensor, memory: Tensor, labels: Tensor, k: int, classes: int) -> Tensor:
    return knn_probabilities(query, memory, labels, k, TEMPERATURE, num_classes=classes).argmax(1)


def lightly_predict(query: Tensor, memory: Tensor, labels: Tensor, k: int, classes: int) -> Tensor:
    from lightly.utils.benchmarking import knn_predict

    return knn_predict(query, memory.T, labels, classes, k, TEMPERATURE)[:, 0]


if __name__ == "__main__":
    main()
