"""One run from configuration to numbers: data, method, training, measures."""

import dataclasses
import json
from functools import lru_cache, partial

import torch

from fglib.checkpoint import Progress, load_checkpoint
from fglib.config import DataConfig, RunConfig
from fglib.data.augment import to_unit_interval
from fglib.data.hierarchy import ROOT
from fglib.data.images import DataSet
from fglib.data.sources import load
from fglib.errors import FglibError, RecordError
from fglib.lab.data_fingerprint import data_fingerprint
from fglib.lab.plan import Plan
from fglib.machine import peak_memory, pick_device
from fglib.measure import Trained, check_measures, classification_error, measure
from fglib.methods import Method, Task, build_method
from fglib.models import Trunk
from fglib.train import fit, memory_format

PREPARED = 5000  # training images, evenly spread, that a trunk is prepared from


def data_state(config: DataConfig, data_dir: str | None = None) -> str:
    """The fingerprint of a configuration's data as it is now."""
    return data_fingerprint(config.name, data_dir, config.size, **config.options)


@lru_cache(maxsize=1)
def _load(config: str, data_dir: str | None, state: str) -> DataSet:
    """The data of a configuration, given as JSON; read again when its state is another."""
    config = json.loads(config)
    return load(config["name"], root=data_dir, size=config["size"], **config["options"])


def load_data(config: DataConfig, data_dir: str | None = None, state: str | None = None) -> DataSet:
    """The data of a configuration, both levels checked; the last set is kept for the next run.

    state: its fingerprint, where the caller has just taken it.
    """
    state = data_state(config, data_dir) if state is None else state
    data = _load(json.dumps(dataclasses.asdict(config)), data_dir, state)
    if config.coarse == ROOT and ROOT not in data.hierarchy.levels:
        data = data.with_root()
    data.hierarchy.check_pair(config.coarse, config.fine)
    return data.validation(config.coarse, config.validation) if config.validation else data


def identity(plan: Plan, state: str) -> dict[str, str]:
    """What a training of this plan belongs to: its configuration's key, the fingerprints of data and code."""
    return {"key": plan.config.key(), "data": state, "code": plan.code}


def start(
    config: RunConfig, data: DataSet, pretrained: Trunk | None = None, method: type[Method] | None = None
) -> Method:
    """A fresh method for a configuration, its weights drawn from the seed; sees no label that is hidden.

    method: a class that takes the place of the one that is named.
    """
    fine = config.data.fine if config.use_fine else None
    task = Task.of(training_view(config, data), config.data.coarse, fine, pretrained)
    torch.manual_seed(config.seed)
    method = build_method(config, task, method)
    if hasattr(method.trunk, "prepare"):
        rows = torch.linspace(0, len(data.train) - 1, min(len(data.train), PREPARED)).long()
        method.trunk.prepare(to_unit_interval(data.train.pixels(rows)))
    return method


def training_view(config: RunConfig, data: DataSet):
    """The training set with the labels that this configuration may see, and no others."""
    levels = {config.data.coarse, config.data.fine} if config.use_fine else {config.data.coarse}
    return data.train.only(*levels)


def train_one(
    plan: Plan,
    *,
    device: str = "auto",
    data_dir: str | None = None,
    deadline: float | None = None,
    label: str = "",
) -> tuple[dict, list, dict, dict, dict] | None:
    """Train (or go on with) one run and measure it; None if time ran out.

    Returns what `records.write_record` takes: metrics, history, arrays, origin and fingerprints.
    """
    for each in (plan, *plan.starts):
        check_measures(each.config, each.tried)
    place = pick_device(device)
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    state = data_state(plan.config.data, data_dir)
    outcome = _train(plan, place, data_dir, state, deadline=deadline, label=label)
    if outcome is None:
        return None
    trained, progress = outcome
    metrics, arrays = measure(trained)
    cuda = place.type == "cuda"
    # of the allocator on CUDA, of the whole process on the CPU
    memory = torch.cuda.max_memory_allocated(place) if cuda else peak_memory()
    origin = {
        "device": torch.cuda.get_device_name(place) if cuda else "cpu",
        "threads": torch.get_num_threads(),
        "precision": progress.precision,
        "seconds": round(progress.seconds, 1),
        "peak_memory_mb": round(memory / 2**20),
    }
    return metrics, progress.history, arrays, origin, {"data": state, "code": plan.code}


def first_epoch(plan: Plan, *, device: str = "auto", data_dir: str | None = None, label: str = "") -> dict[str, float]:
    """The line of the history that the first epoch of a run gives now; nothing is recorded.

    RecordError for a run that starts from another one whose weights are not here.
    """
    for first in plan.starts:
        if not first.trained:
            raise RecordError(f"it starts from {first.experiment.name}/{first.name}, whose weights are not here")
    place = pick_device(device)
    trained = _prepared(plan, place, data_dir, data_state(plan.config.data, data_dir), label="")
    progress, _ = fit(
        trained.method, training_view(plan.config, trained.data), plan.config, device=place, label=label, epochs=1
    )
    return progress.history[0]


def _prepared(plan: Plan, device: torch.device, data_dir: str | None, state: str, **how) -> Trained | None:
    """The untrained method of a plan with its data, after the one that it starts from; None if time ran out."""
    config, pretrained = plan.config, None
    if plan.start is not None:
        first = plan.start
        outcome = _train(first, device, data_dir, data_state(first.config.data, data_dir), **how)
        if outcome is None:
            return None
        pretrained = outcome[0].method.trunk
    data = load_data(config.data, data_dir, state)
    return Trained(start(config, data, pretrained, plan.tried), data, config, str(device))


def _train(
    plan: Plan, device: torch.device, data_dir: str | None, state: str, *, label: str, deadline: float | None = None
) -> tuple[Trained, Progress] | None:
    """The trained method of a plan; None if time ran out."""
    config = plan.config
    first = label and config.start and f"{label}, first {config.start.variant}"
    trained = _prepared(plan, device, data_dir, state, label=first or "", deadline=deadline)
    if trained is None:
        return None
    progress, finished = fit(
        trained.method,
        training_view(config, trained.data),
        config,
        device=device,
        checkpoint=None if plan.tried else plan.checkpoint,  # which is trained anew at every call
        identity=identity(plan, state),
        deadline=deadline,
        label=label,
        classification_error=partial(classification_error, trained) if config.train.errors_every else None,
    )
    return (trained, progress) if finished else None


def restore(plan: Plan, data_dir: str | None = None) -> Trained:
    """The trained method of a run from its checkpoint, or from that of a refresh beside the book's records.

    Where there is none, an error says how to make one.
    """
    kept = [p for p in (plan, dataclasses.replace(plan, tweak=True)) if p.checkpoint.is_file()]
    if not kept:
        raise FglibError(
            f"no weights at {plan.checkpoint}: records come without weights; make them with "
            f"`fglib train {plan.experiment.name} --preset {plan.preset} --variants {plan.variant} --refresh`"
        )
    state = data_state(plan.config.data, data_dir)
    data = load_data(plan.config.data, data_dir, state)
    method = start(plan.config, data)
    load_checkpoint(kept[0].checkpoint, identity(plan, state), method)
    method.to(memory_format=memory_format(plan.config.train))
    return Trained(method.eval(), data, plan.config)
