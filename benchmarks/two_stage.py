"""What attention pooling and the second look cost beside a plain network (Coarse2Fine, Fig. 5).

One process, interleaved, medians. A training step is loss, backward and SGD update; recognition is `logits` of a batch
in evaluation mode, for Coarse2Fine also with its coarse head alone, which is its cheap mode of inference.

    python benchmarks/two_stage.py [--out record.json]
"""

import torch
from measure import begin, interleaved, training_step
from record import report

from fglib.config import ModelConfig
from fglib.methods import METHODS, Batch, Task
from fglib.models import build_trunk

NAMES = ("plain", "bap", "ws_dan", "coarse2fine")


def main() -> None:
    args = begin(__doc__, repeats=5, batch=(32, "images"), size=(96, "pixels of the square images"))
    labels = torch.arange(args.batch) % 50
    task = Task(args.batch, 50, labels)
    images = torch.rand(args.batch, 3, args.size, args.size)
    batch = Batch(images[None], labels, torch.arange(args.batch))

    def trainer(method):
        optimizer = torch.optim.SGD(method.parameters(), lr=1e-4, momentum=0.9)

        def step() -> None:
            method.train()
            training_step(optimizer, lambda: method.loss(batch)["total"])
            method.after_step(batch)

        return step

    def recognizer(method, coarse_only=False):
        @torch.no_grad()
        def recognize() -> None:
            method.eval()
            method.scores(method.first_head, method.attend(images)[0]) if coarse_only else method.logits(images)

        return recognize

    methods = {name: METHODS[name](build_trunk(ModelConfig("resnet18", layer="layer3")), task) for name in NAMES}
    pieces = {f"{name}, training step": trainer(method) for name, method in methods.items()}
    pieces |= {f"{name}, recognition": recognizer(method) for name, method in methods.items()}
    pieces["coarse2fine, coarse head"] = recognizer(methods["coarse2fine"], coarse_only=True)
    report(
        "two_stage",
        interleaved(pieces, args.repeats),
        ratios={
            f"{piece} / plain": (piece, f"plain, {'training step' if 'step' in piece else 'recognition'}")
            for piece in pieces
            if not piece.startswith("plain")
        },
        work={"batch": args.batch, "pixels": args.size, "maps": 8, "classes": 50},
        out=args.out,
    )


if __name__ == "__main__":
    main()
