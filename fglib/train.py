"""Training: one visible loop for every method.

Seeds fix every number on a CPU bit for bit, and a training that was stopped, by a time limit or by force, goes
on from its last checkpoint to the numbers it would have reached.
"""

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from fglib.activations import Activations
from fglib.autocast import PRECISIONS, choose
from fglib.checkpoint import Progress, load_checkpoint, save_checkpoint
from fglib.config import RunConfig, TrainConfig
from fglib.data.augment import to_unit_interval
from fglib.data.images import ImageSet
from fglib.data.loader import epoch_batches, load_views
from fglib.errors import ConfigError, TrainingError
from fglib.inference import apply
from fglib.machine import keep_freed_memory
from fglib.methods import Batch, Method
from fglib.models.freezing import freeze
from fglib.models.photographs import IMAGENET
from fglib.models.trunk import Trunk
from fglib.schedule import learning_rate
from fglib.stops import held_back

PROBE = 64  # images that the precision is measured on, where it is to be chosen


def fit(
    method: Method,
    train: ImageSet,
    config: RunConfig,
    *,
    device: str | torch.device = "cpu",
    checkpoint: Path | None = None,
    identity: Mapping[str, str] | None = None,
    save_every: float = 60.0,
    deadline: float | None = None,
    label: str = "",
    classification_error: Callable[[], dict[str, float]] | None = None,
    epochs: int | None = None,
) -> tuple[Progress, bool]:
    """Train `method` in place; returns (progress, finished).

    `checkpoint` is resumed from when it exists and written every `save_every` seconds, at the deadline and at the
    end; `identity` is what it belongs to, the configuration's key unless given. `deadline` is a time of
    `time.monotonic()` at which training stops cleanly, unfinished; `epochs` stops it after so many. Ctrl-C and the
    other signals of `fglib.stops` take effect once the step under way is done and the checkpoint written. `label`
    names the progress bar; an empty one shows none. `classification_error` gives numbers that join the history every
    `errors_every` epochs; they feed nothing back. Raises TrainingError at the first loss that is not finite.
    """
    settings, device = config.train, torch.device(device)
    identity = {"key": config.key()} if identity is None else identity
    if device.type == "cpu":
        keep_freed_memory()
    else:
        torch.backends.cudnn.benchmark = True
    method.to(device, memory_format=memory_format(settings)).train()
    if settings.compile:
        need_compiler()
        getattr(method.trunk, "body", method.trunk).compile()
    train = train.to(device)
    coarse = train.labels(config.data.coarse).to(device)
    fine = train.labels(config.data.fine).to(device) if config.use_fine else None
    activations = freeze_trunks(method, train, config, label)
    optimizer = build_optimizer(method, settings, device)
    torch.manual_seed(config.seed)  # the draws of the augmentation
    progress = Progress()
    if checkpoint is not None and checkpoint.is_file():
        progress = load_checkpoint(checkpoint, identity, method, optimizer)
    if not progress.precision:
        probe = to_unit_interval(train.pixels(torch.arange(min(len(train), PROBE))).to(device))
        progress.precision = choose(settings.precision, method.trunk, probe)

    over_images = partial(apply, method, images=train, device=device)
    if progress.step == 0:
        method.before_training(over_images)

    steps = len(epoch_batches(len(train), settings.batch_size, config.seed, 0))
    losses = LossLog(progress, every=1 if device.type == "cpu" else 50)
    started = saved = time.monotonic()
    seconds_before = progress.seconds
    shown = {"desc": label, "total": steps * settings.epochs, "initial": progress.step, "unit": "step"}
    # signals first: whoever sees the bar may stop the training, and finds a checkpoint
    with held_back() as stops, tqdm(**shown, disable=not label, file=sys.stderr) as bar:
        for epoch in range(progress.step // steps, settings.epochs):
            if epoch == epochs:
                return progress, False
            batches = epoch_batches(len(train), settings.batch_size, config.seed, epoch)
            ahead = batches[progress.step % steps :]
            for index, views in (
                activations.epoch(ahead, device, config.seed, epoch)
                if activations
                else load_views(train, ahead, device, config, epoch)
            ):
                fine_labels = None if fine is None else fine[index]
                done = progress.step / (steps * settings.epochs)
                batch = Batch(views, coarse[index], index, fine_labels, done)
                rate = learning_rate(settings, progress.step / steps)
                terms = training_step(method, optimizer, batch, rate, PRECISIONS[progress.precision])

                progress.step += 1
                losses.add(terms)  # stops at a loss that is not finite, before it reaches the method's state
                method.after_step(batch)
                bar.update()
                now = time.monotonic()
                progress.seconds = seconds_before + now - started
                if progress.step % steps == 0:
                    losses.close_epoch(epoch, rate, steps)
                    due = settings.errors_every and (epoch + 1) % settings.errors_every == 0
                    if due and classification_error is not None:
                        progress.history[-1] |= classification_error()
                    bar.set_postfix(loss=f"{progress.history[-1]['total']:.3f}", lr=f"{rate:.3g}", refresh=False)
                leave = stops or (deadline is not None and now > deadline)
                if checkpoint is not None and (leave or now - saved > save_every):
                    losses.flush()
                    save_checkpoint(checkpoint, identity, method, optimizer, progress)
                    saved = now
                if leave and progress.step < steps * settings.epochs:
                    return progress, False
        method.after_training(over_images)
        if checkpoint is not None:
            save_checkpoint(checkpoint, identity, method, optimizer, progress)
    return progress, True


def freeze_trunks(method: Method, train: ImageSet, config: RunConfig, label: str = "") -> Activations | None:
    """Freeze what the configuration wants of a method's trunk, and of the copies that a method may keep of it.

    Returns what stands in place of images where the configuration wants activations of the frozen stages to be cached.
    """
    settings = config.train
    norms = config.model.weights == IMAGENET if settings.freeze_bn is None else settings.freeze_bn
    if not norms and settings.freeze is None:
        return None
    trunks = [module for module in method.modules() if isinstance(module, Trunk)] or [method.trunk]
    for trunk in trunks:
        freeze(trunk, settings.freeze, norms)
    if not settings.cache_views:
        return None
    if method.needs_pixels:
        raise ConfigError(f"method '{config.method.name}' looks at the pixels of its views: set train.cache_views to 0")
    activations = Activations(method.trunk, settings.freeze, train, config.augment, settings.cache_views)
    activations.fill(label).serve(*trunks)
    return activations


def build_optimizer(method: Method, settings: TrainConfig, device: torch.device) -> torch.optim.Optimizer:
    """The optimizer of the settings over a method's parameters, which lie on `device`."""
    optimizer = (adamw if settings.optimizer == "adamw" else sgd)(method, settings, device)
    if settings.lr_heads != 1:
        of_trunk = set(map(id, method.trunk.parameters()))
        for group in list(optimizer.param_groups):
            heads = [p for p in group["params"] if id(p) not in of_trunk]
            group["params"] = [p for p in group["params"] if id(p) in of_trunk]
            rate = group.get("rate", 1.0) * settings.lr_heads
            optimizer.add_param_group({**group, "params": heads, "rate": rate})
        optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
    return optimizer


def adamw(method: Method, settings: TrainConfig, device: torch.device) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019); its first moment decays by `momentum`."""
    return torch.optim.AdamW(
        method.parameter_groups(),
        lr=settings.lr,
        betas=(settings.momentum, 0.999),
        weight_decay=settings.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )


def sgd(method: Method, settings: TrainConfig, device: torch.device) -> torch.optim.Optimizer:
    """Stochastic gradient descent over the parameters of a method, which lie on `device`."""
    return torch.optim.SGD(
        method.parameter_groups(),
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )


def training_step(
    method: Method, optimizer: torch.optim.Optimizer, batch: Batch, rate: float, amp: torch.dtype | None
) -> dict[str, Tensor]:
    """One step at a learning rate: loss, gradient, optimizer. Returns the named losses; `after_step` is the caller's.

    amp: the type that matrix products of the forward pass take under autocast, None for float32 throughout.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate", 1.0)
    with torch.autocast(batch.views.device.type, amp, enabled=amp is not None):
        terms = method.loss(batch)
    optimizer.zero_grad(set_to_none=True)
    terms["total"].backward()
    optimizer.step()
    return terms


def need_compiler() -> None:
    """ConfigError where torch.compile would not find the C++ compiler that it calls; it says so late and at length."""
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        raise ConfigError(
            f"train.compile needs a C++ compiler and there is no '{name}' on the PATH; install one, name another in "
            "CXX or pass --set train.compile=false"
        )


def memory_format(settings: TrainConfig) -> torch.memory_format:
    """Layout of the network's weights; sums depend on it in their last digits."""
    return torch.channels_last if settings.channels_last else torch.contiguous_format


class LossLog:
    """Sums a run's losses into its progress without waiting for the device at every step."""

    def __init__(self, progress: Progress, every: int) -> None:
        self.progress, self.every = progress, every
        self.pending: list[dict[str, Tensor]] = []

    def add(self, terms: dict[str, Tensor]) -> None:
        """Take the losses of one step; every `every` steps they are read and checked."""
        self.pending.append({name: value.detach() for name, value in terms.items()})
        if len(self.pending) >= self.every:
            self.flush()

    def flush(self) -> None:
        """Add up what is pending; TrainingError at a loss that is not finite, naming step and terms."""
        if not self.pending:
            return
        names = list(self.pending[0])
        table = torch.stack([torch.stack([p[n].float() for n in names]) for p in self.pending]).tolist()
        first = self.progress.step - len(self.pending) + 1
        self.pending.clear()
        for step, row in enumerate(table, start=first):
            if not all(math.isfinite(v) for v in row):
                shown = ", ".join(f"{n} = {v:g}" for n, v in zip(names, row))
                raise TrainingError(
                    f"the loss is not finite at step {step} ({shown}); try a lower learning rate, a warm-up "
                    "(train.warmup_epochs) or train.precision: float32"
                )
            for name, value in zip(names, row):
                self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value

    def close_epoch(self, epoch: int, rate: float, steps: int) -> None:
        """Turn the sums of an epoch into a line of the history."""
        self.flush()
        means = {name: total / steps for name, total in self.progress.sums.items()}
        self.progress.history.append({"epoch": epoch + 1, "lr": rate, **means})
        self.progress.sums.clear()
