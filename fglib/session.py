"""One run from configuration to numbers: data, method, training, measures."""

from functools import lru_cache, partial

import torch

from fglib.checkpoint import Progress, load_checkpoint
from fglib.config import DataConfig, RunConfig
from fglib.data.hierarchy import ROOT
from fglib.data.images import DataSet
from fglib.data.sources import load
from fglib.errors import FglibError
from fglib.measure import Trained, errors, measure
from fglib.methods import Method, Task, build_method
from fglib.models import Trunk
from fglib.provenance import peak_memory
from fglib.runs import Plan, start_of
from fglib.train import fit, memory_format


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA, else the CPU; an accelerator that is not there is an error."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise FglibError(f"device '{name}' was asked for, but torch finds no CUDA device; use device auto or cpu")
    try:
        return torch.device(name)
    except RuntimeError as e:
        raise FglibError(f"unknown device '{name}'; use auto, cpu, cuda or cuda:0") from e


@lru_cache(maxsize=1)
def _load(name: str, root: str | None, size: int | None, options: tuple) -> DataSet:
    return load(name, root=root, size=size, **dict(options))


def load_data(config: DataConfig, data_dir: str | None = None) -> DataSet:
    """The data of a configuration, both levels checked; the last set is kept for the next run."""
    options = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in config.options.items())
    data = _load(config.name, data_dir, config.size, options)
    if config.coarse == ROOT and ROOT not in data.hierarchy.levels:
        data = data.with_root()
    data.hierarchy.check_pair(config.coarse, config.fine)
    return data


def start(config: RunConfig, data: DataSet, pretrained: Trunk | None = None) -> Method:
    """A fresh method for a configuration, its weights drawn from the seed; sees no label that is hidden."""
    fine = config.data.fine if config.use_fine else None
    task = Task.of(training_view(config, data), config.data.coarse, fine, pretrained)
    torch.manual_seed(config.seed)
    return build_method(config, task)


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
) -> tuple[dict, list, dict, dict] | None:
    """Train (or go on with) one run and measure it: (metrics, history, arrays, origin), None if time ran out."""
    place = pick_device(device)
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    outcome = _train(plan, place, data_dir, deadline, label)
    if outcome is None:
        return None
    trained, progress = outcome
    metrics, arrays = measure(trained)
    origin = {
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "seconds": round(progress.seconds, 1),
        "peak_memory_mb": round(_peak_memory(place) / 2**20),
    }
    return metrics, progress.history, arrays, origin


def _train(
    plan: Plan, device: torch.device, data_dir: str | None, deadline: float | None, label: str
) -> tuple[Trained, Progress] | None:
    """The trained method of a plan, after the one that it starts from; None if time ran out."""
    config, pretrained = plan.config, None
    if config.start is not None:
        first = start_of(config)
        outcome = _train(first, device, data_dir, deadline, label and f"{label}, first {first.variant}")
        if outcome is None:
            return None
        pretrained = outcome[0].method.trunk
    data = load_data(config.data, data_dir)
    method = start(config, data, pretrained)
    trained = Trained(method, data, config, str(device))
    progress, finished = fit(
        method,
        training_view(config, data),
        config,
        device=device,
        checkpoint=plan.checkpoint,
        deadline=deadline,
        label=label,
        errors=partial(errors, trained) if config.train.errors_every else None,
    )
    return (trained, progress) if finished else None


def restore(plan: Plan, data_dir: str | None = None) -> Trained:
    """The trained method of a run from its checkpoint; an error says how to make one where there is none."""
    if not plan.checkpoint.is_file():
        raise FglibError(
            f"no weights at {plan.checkpoint}: records come without weights; make them with "
            f"`fglib train {plan.experiment.name} --preset {plan.preset} --variants {plan.variant} --refresh`"
        )
    data = load_data(plan.config.data, data_dir)
    method = start(plan.config, data)
    load_checkpoint(plan.checkpoint, plan.config, method)
    method.to(memory_format=memory_format(plan.config.train))
    return Trained(method.eval(), data, plan.config)


def _peak_memory(device: torch.device) -> int:
    """Peak bytes: of the allocator on CUDA, of the whole process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_memory()
