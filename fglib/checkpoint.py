"""Checkpoints of a training: tensors as safetensors, the rest as JSON in the same file's header; no pickle.

One file holds model, optimizer, random generators and position, so that one rename makes it whole or absent.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fglib.config import RunConfig
from fglib.errors import RecordError
from fglib.paths import write_atomically


@dataclass
class Progress:
    """Where a training stands: steps done, loss means of finished epochs, loss sums of the one under way."""

    step: int = 0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)


def save_checkpoint(
    path: Path, config: RunConfig, method: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write everything that the next step depends on."""
    tensors = {f"model/{name}": t for name, t in method.state_dict().items()}
    for i, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{i}/{name}": t for name, t in slots.items() if isinstance(t, Tensor)}
    tensors["rng/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    header = {"key": config.key(), "progress": json.dumps(asdict(progress))}
    # clone: safetensors refuses tensors that share memory, and wants them contiguous
    contiguous = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    write_atomically(path, save(contiguous, metadata=header))


def load_checkpoint(
    path: Path, config: RunConfig, method: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> Progress:
    """Restore method, optimizer (where given, with the random generators) and return the progress.

    Raises RecordError when the file is cut short or belongs to another configuration.
    """
    try:
        with safe_open(path, framework="pt") as f:
            header = f.metadata()
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 (not a dict)
        progress = Progress(**json.loads(header["progress"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as e:
        raise RecordError(
            f"the checkpoint {path} is damaged or cut short ({e}); delete it to train from the start"
        ) from e
    if header["key"] != config.key():
        raise RecordError(
            f"the checkpoint {path} belongs to configuration {header['key']}, this run is {config.key()}; "
            "delete it or undo the change of configuration"
        )
    method.load_state_dict({n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")})
    if optimizer is not None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, t in tensors.items():
            if name.startswith("optimizer/"):
                _, i, slot = name.split("/")
                state.setdefault(int(i), {})[slot] = t
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        for parameter, slots in optimizer.state.items():  # a fused step goes through them in the order of memory
            slots |= {n: torch.empty_like(parameter).copy_(t) for n, t in slots.items() if t.shape == parameter.shape}
        torch.set_rng_state(tensors["rng/cpu"])
        if "rng/cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng/cuda"])
    return progress
