"""Random views of large images: torchvision's one by one, as workers draw them, beside batches of the library's own.

One process and one thread, interleaved, medians: a batch of uint8 images in memory becomes one view each. What decoding
JPEG files of 500 x 375 pixels to the same size takes is measured beside them; a worker does both.

    python benchmarks/stream.py [--out record.json]
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from measure import begin, interleaved
from PIL import Image
from record import report

from fglib.config import AugmentConfig
from fglib.data.augment import Augment
from fglib.data.folder import read_folder
from fglib.data.stream import RandomViews

CROP = {"resized_crop": (0.08, 1.0), "flip": True}
RECIPES = {"crop and flip": CROP, "RandAugment and erasing besides": CROP | {"randaugment": (2, 9.0), "erasing": 0.25}}


def main() -> None:
    args = begin(
        __doc__,
        repeats=5,
        threads=(1, "of the processor"),
        batch=(32, "images"),
        size=(224, "pixels of the square images"),
    )
    with TemporaryDirectory() as folder:
        for i in range(args.batch):
            path = Path(folder, "train", "noise", f"{i}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = torch.randint(256, (24, 32, 3), dtype=torch.uint8).numpy()
            Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
        files = read_folder(folder, "train", ["class"], args.size, resident=False).images
        images = files.decode()
        pieces, ratios = {"decoding": lambda: [files[i] for i in range(args.batch)]}, {}
        for name, steps in RECIPES.items():
            config = AugmentConfig(**steps)
            batched, single = Augment(config, (args.size, args.size)), RandomViews(images, config, 0, 0)
            pieces[f"{name}, batch"] = lambda batched=batched: batched(images)
            pieces[f"{name}, stream"] = lambda single=single: [single[i] for i in range(args.batch)]
            ratios[f"{name}, batch / stream"] = f"{name}, batch", f"{name}, stream"
        seconds = interleaved(pieces, args.repeats)
    report(
        "stream",
        seconds,
        ratios,
        work={"batch": args.batch, "pixels": args.size},
        out=args.out,
        measured={f"{name}, images per second": args.batch / taken for name, taken in seconds.items()},
        targets=dict.fromkeys(ratios, ">= 2"),
    )


if __name__ == "__main__":
    main()
