"""Where the time of a training step goes, how close it is to the arithmetic, and what the common recipe takes.

`fglib.train.fit` itself is timed, by marks at its parts: data (batch, augmentation, bookkeeping), forward, backward,
optimizer, after_step; medians over the steps after the first few. The floor is the arithmetic of forward and backward,
counted by torch, at the rate of a large matrix product that is measured in the same run. The common recipe trains the
same network and loss from PIL images, which workers of a DataLoader transform one by one with torchvision, in float32,
contiguous, not compiled, with the optimizer's and the allocator's defaults; it comes first, since `fit` changes the
latter for the whole process. Images per second are counted over as many steps. A profile of more steps says which
operations the time goes to.

Without --experiment, four trainings of the cpu preset; on a GPU:

    python benchmarks/train_step.py [--out record.json]
    python benchmarks/train_step.py --experiment cifar100 --variant base --preset paper --device cuda --steps 400 \
        --out book/results/benchmarks/train_step_gpu.json
"""

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from measure import begin
from record import report
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms as T

from fglib.autocast import PRECISIONS
from fglib.config import AugmentConfig, RunConfig
from fglib.data.augment import Augment
from fglib.data.hierarchy import Hierarchy
from fglib.data.images import DataSet, ImageSet
from fglib.errors import DataError
from fglib.inference import apply
from fglib.lab.plan import plans
from fglib.lab.run import load_data, start, training_view
from fglib.machine import pick_device
from fglib.methods import Batch, Method
from fglib.train import fit

TRAININGS = (
    ("cifar100", "base"),
    ("cifar100", "base_indi"),
    ("grafit_cifar100", "baseline"),
    ("grafit_cifar100", "grafit"),
)
WARM = {"cpu": 5, "cuda": 50}  # first steps, not counted: on a GPU they compile and choose algorithms
EPOCH = 50_000  # images of CIFAR-100


def main() -> None:
    args = begin(
        __doc__,
        repeats=1,
        keep=False,
        experiment=("", "train this one alone"),
        variant=("base", "of that experiment"),
        preset=("cpu", "of all trainings"),
        device=("cpu", "cpu or cuda"),
        steps=(25, "steps that are counted, after the first few"),
        workers=(0, "of the common recipe's DataLoader; 2, with a GPU 8, unless given"),
        data_dir=("", "folder of the data sets; $FGLIB_DATA or ~/.cache/fglib"),
    )
    device = pick_device(args.device)
    gpu = device.type == "cuda"
    workers = args.workers or (8 if gpu else 2)
    seconds, ratios, targets, measured, profiles, notes = {}, {}, {}, {}, {}, []
    chosen = [(args.experiment, args.variant)] if args.experiment else TRAININGS
    configs = {f"{name} {variant}": plans(name, args.preset, variants=[variant])[0].config for name, variant in chosen}
    found = {name: images_of(config, args.data_dir or None) for name, config in configs.items()}
    by_recipe = {n: timed_recipe(config, found[n][0], device, args.steps, workers) for n, config in configs.items()}
    for name, config in configs.items():
        data, real = found[name]
        batch, common = config.train.batch_size, by_recipe[name]
        if not real:
            notes.append(f"There were no images of {config.data.name}: timed on random ones of the same shape.")
        parts, ours = timed_fit(config, data, device, args.steps)
        profiles[name] = shares(config, data, device, args.steps)
        floor = flops(config, data, device) / multiply_rate(device, PRECISIONS[config.train.precision])
        seconds |= {f"{name}, {part}": value for part, value in parts.items()}
        seconds |= {f"{name}, step": ours, f"{name}, common recipe": common, f"{name}, floor": floor}
        ratios[f"{name}, common recipe / ours"] = f"{name}, common recipe", f"{name}, step"
        ratios[f"{name}, floor / ours"] = f"{name}, floor", f"{name}, step"
        targets[f"{name}, common recipe / ours"] = ">= 6" if gpu else ">= 2"
        measured |= {
            f"{name}, images per second": batch / ours,
            f"{name}, common recipe, images per second": batch / common,
        }
        if gpu:
            measured[f"{name}, seconds of {EPOCH:,} images"] = EPOCH / batch * ours
            targets[f"{name}, seconds of {EPOCH:,} images"] = "<= 0.9"
    report(
        "train_step_gpu" if gpu else "train_step",
        seconds,
        ratios,
        work={"preset": args.preset, "steps": args.steps, "workers": workers},
        out=args.out,
        measured=measured,
        targets=targets,
        notes=dict.fromkeys(notes),
        profile=profiles,
        device=torch.cuda.get_device_name(device) if gpu else "",
    )


def images_of(config: RunConfig, data_dir: str | None) -> tuple[DataSet, bool]:
    """The data of a configuration, or random images of CIFAR-100's shape and labels where it is not there."""
    try:
        return load_data(config.data, data_dir), True
    except DataError:
        paths = [
            (f"{c // 5:02}", f"{c:02}") for c in range(100) for _ in range(config.data.options.get("per_class", 500))
        ]
        hierarchy, targets = Hierarchy.from_paths(paths, (config.data.coarse, config.data.fine))
        images = torch.randint(256, (len(paths), 3, 32, 32), dtype=torch.uint8)
        train = ImageSet(images, hierarchy, targets, hierarchy.levels)
        return DataSet("random", train, train.subset(range(100))), False


class Enough(Exception):
    """Raised in a step to end a training that has been timed for long enough."""


class Clock:
    """Marks on the device's own time, which read as seconds only once everything is over."""

    def __init__(self, device: torch.device) -> None:
        self.gpu = device.type == "cuda"
        self.marks: list[tuple[str, float | torch.cuda.Event]] = []

    def mark(self, part: str) -> None:
        """The end of a part."""
        if self.gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
        self.marks.append((part, event if self.gpu else time.perf_counter()))

    def seconds(self, last: str, steps: int) -> tuple[dict[str, float], float]:
        """Median seconds of each part, and seconds of a step on average, of the last steps; a step ends with `last`."""
        if self.gpu:
            torch.cuda.synchronize()
        ends = [i for i, (part, _) in enumerate(self.marks) if part == last][-steps - 1 :]
        counted = self.marks[ends[0] : ends[-1] + 1]
        parts = defaultdict(list)
        for (_, before), (part, after) in itertools.pairwise(counted):
            parts[part].append(self.between(before, after))
        whole = self.between(counted[0][1], counted[-1][1]) / (len(ends) - 1)
        return {part: statistics.median(values) for part, values in parts.items()}, whole

    def between(self, before, after) -> float:
        return before.elapsed_time(after) / 1000 if self.gpu else after - before


def timed_fit(config: RunConfig, data: DataSet, device: torch.device, steps: int) -> tuple[dict[str, float], float]:
    """Seconds of each part of a step and of the whole, in `fit`."""
    method, clock, wanted = start(config, data), Clock(device), WARM[device.type] + steps
    loss, after_step, taken = method.loss, method.after_step, itertools.count(1)

    def marked_loss(batch: Batch) -> dict[str, Tensor]:
        clock.mark("data")
        parts = loss(batch)
        clock.mark("forward")
        return parts

    def marked_after_step(batch: Batch) -> None:
        after_step(batch)
        clock.mark("after_step")
        if next(taken) == wanted:
            raise Enough

    method.loss, method.after_step = marked_loss, marked_after_step
    with hooks(clock):
        try:
            fit(method, training_view(config, data), config, device=device)
        except Enough:
            pass
        else:
            raise SystemExit(f"the training ended before {wanted} steps; ask for fewer with --steps")
    return clock.seconds("after_step", steps)


def shares(config: RunConfig, data: DataSet, device: torch.device, steps: int, most: int = 8) -> dict[str, float]:
    """Parts of the time that the largest operations take in `fit`, without what they call; the rest is "other"."""
    gpu = device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=kinds, acc_events=True) as profiled:
        timed_fit(config, data, device, steps)
    times = {e.key: e.self_device_time_total if gpu else e.self_cpu_time_total for e in profiled.key_averages()}
    largest = sorted(times, key=times.get, reverse=True)[:most]
    found = {name: times[name] / sum(times.values()) for name in largest}
    return found | {"other": 1 - sum(found.values())}


@contextmanager
def hooks(clock: Clock) -> Iterator[None]:
    """Marks before and after every step of any optimizer."""
    handles = [
        register_optimizer_step_pre_hook(lambda *_: clock.mark("backward")),
        register_optimizer_step_post_hook(lambda *_: clock.mark("optimizer")),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Pictures(Dataset):
    """PIL images with their label and index, transformed one by one as the configuration asks, in every view."""

    def __init__(self, config: RunConfig, train: ImageSet) -> None:
        self.images = [T.functional.to_pil_image(image) for image in train.images]
        self.labels = train.labels(config.data.coarse).tolist()
        self.transform, self.views = transforms_of(config.augment, train.image_size), config.augment.views

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return torch.stack([self.transform(self.images[index]) for _ in range(self.views)]), self.labels[index], index


def transforms_of(augment: AugmentConfig, size: tuple[int, int]) -> T.Compose:
    """torchvision's transforms of an augmentation; SystemExit for one that this benchmark does not translate."""
    if augment.degrees or augment.translate or augment.scale != (1.0, 1.0):
        raise SystemExit(f"the common recipe has no counterpart of {augment}; choose another experiment")
    steps = []
    if augment.resized_crop:
        steps.append(T.RandomResizedCrop(size, augment.resized_crop))
    if augment.pad_crop:
        steps.append(T.RandomCrop(size, padding=augment.pad_crop))
    if augment.flip:
        steps.append(T.RandomHorizontalFlip())
    if augment.randaugment:
        steps.append(T.RandAugment(augment.randaugment[0], int(augment.randaugment[1])))
    steps += [T.ToTensor(), T.Normalize((0.5,) * 3, (0.25,) * 3)]
    if augment.erasing:
        steps.append(T.RandomErasing(augment.erasing))
    return T.Compose(steps)


def ready(config: RunConfig, data: DataSet, device: torch.device) -> tuple[Method, ImageSet]:
    """The method before its first step, and what it trains on."""
    method, train = start(config, data).to(device), training_view(config, data)
    method.before_training(partial(apply, method, images=train, device=device))
    return method.train(), train


def timed_recipe(config: RunConfig, data: DataSet, device: torch.device, steps: int, workers: int) -> float:
    """Seconds of a step of the common recipe."""
    method, train = ready(config, data, device)
    clock, settings = Clock(device), config.train
    optimizer = torch.optim.SGD(
        method.parameters(), settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    loader = DataLoader(
        Pictures(config, train),
        settings.batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        drop_last=True,
        persistent_workers=True,
    )
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    for views, coarse, index in itertools.islice(batches, WARM[device.type] + steps):
        views, coarse, index = (x.to(device, non_blocking=True) for x in (views, coarse, index))
        batch = Batch(views.transpose(0, 1), coarse, index)
        optimizer.zero_grad()
        loss = method.loss(batch)["total"]
        loss.backward()
        optimizer.step()
        method.after_step(batch)
        loss.item()  # as it is printed
        clock.mark("step")
    return clock.seconds("step", steps)[1]


def flops(config: RunConfig, data: DataSet, device: torch.device) -> int:
    """Operations of forward and backward of a batch, counted by torch; a multiply-add counts as two."""
    method, train = ready(config, data, device)
    index = torch.arange(config.train.batch_size)
    views = Augment(config.augment, train.image_size)(train.pixels(index).to(device))
    batch = Batch(views, train.labels(config.data.coarse)[index].to(device), index.to(device))
    with FlopCounterMode(display=False) as counter:
        method.loss(batch)["total"].backward()
    return counter.get_total_flops()


def multiply_rate(device: torch.device, dtype: torch.dtype | None) -> float:
    """Operations a second of a large matrix product, the fastest of ten, in the type that the training computes in."""
    side = 8192 if device.type == "cuda" else 2048
    one = torch.randn(side, side, device=device, dtype=dtype or torch.float32)
    clock = Clock(device)
    for _ in range(11):
        clock.mark("between")
        one @ one
        clock.mark("product")
    if clock.gpu:
        torch.cuda.synchronize()
    times = [clock.between(a, b) for (_, a), (part, b) in itertools.pairwise(clock.marks) if part == "product"]
    return 2 * side**3 / min(times)


if __name__ == "__main__":
    main()
