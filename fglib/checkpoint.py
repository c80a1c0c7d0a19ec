"""Checkpoints of a training: tensors as safetensors, the rest as JSON in the same file's header; no pickle.

One file holds model, optimizer, random generators and position, so that one rename makes it whole or absent. Its header
says what it belongs to, which configuration, data and code, and carries a digest of everything: a checkpoint in which a
single bit has changed is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fglib.errors import RecordError
from fglib.storage import write_atomically

WHAT = {"key": "configuration", "data": "images or labels", "code": "code"}  # what the parts of an identity stand for


@dataclass
class Progress:
    """Where a training stands: steps done, loss means of finished epochs, loss sums of the one under way, precision."""

    step: int = 0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    precision: str = ""  # "float32" or "bf16"; a training goes on as it began


def save_checkpoint(
    path: Path,
    identity: Mapping[str, str],
    method: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write everything that the next step depends on.

    identity: what the training belongs to, by the names in WHAT; `load_checkpoint` asks for the same.
    """
    tensors = {f"model/{name}": t for name, t in method.state_dict().items()}
    for i, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{i}/{name}": t for name, t in slots.items() if isinstance(t, Tensor)}
    tensors["rng/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    # clone: safetensors refuses tensors that share memory, and wants them contiguous
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    header = {"identity": json.dumps(dict(identity), sort_keys=True), "progress": json.dumps(asdict(progress))}
    write_atomically(path, save(tensors, metadata=header | {"digest": _digest(header, tensors)}))


def load_checkpoint(
    path: Path, identity: Mapping[str, str], method: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> Progress:
    """Restore method, optimizer (where given, with the random generators) and return the progress.

    Raises RecordError when the file is damaged in any place or belongs to another configuration, data or code.
    """
    try:
        with safe_open(path, framework="pt") as f:
            header = f.metadata()
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 (not a dict)
        digest = header.pop("digest")
        if digest != _digest(header, tensors):
            raise ValueError("its contents do not match their digest")
        progress, theirs = Progress(**json.loads(header["progress"])), json.loads(header["identity"])
    except (SafetensorError, OSError, KeyError, AttributeError, TypeError, ValueError) as e:
        raise RecordError(
            f"the checkpoint {path} is damaged or cut short ({e}); delete it to train from the start"
        ) from e
    for name, value in identity.items():
        if theirs.get(name) != value:
            raise RecordError(
                f"the checkpoint {path} belongs to other {WHAT[name]} ({theirs.get(name)}; now {value}); undo the "
                "change, or train from the start with --refresh"
            )
    try:
        method.load_state_dict({n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")})
    except RuntimeError as e:
        raise RecordError(f"the checkpoint {path} is not of this method and network ({e}); delete it") from e
    if optimizer is not None:
        _restore_optimizer(optimizer, tensors)
        torch.set_rng_state(tensors["rng/cpu"])
        if "rng/cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng/cuda"])
    return progress


def finished_epochs(path: Path) -> int:
    """How many epochs the training of a checkpoint has finished; 0 where there is none or it cannot be read."""
    try:
        with safe_open(path, framework="np") as f:
            return len(json.loads(f.metadata()["progress"])["history"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return 0


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, t in tensors.items():
        if name.startswith("optimizer/"):
            _, i, slot = name.split("/")
            state.setdefault(int(i), {})[slot] = t
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, slots in optimizer.state.items():  # a fused step goes through them in the order of memory
        slots |= {n: torch.empty_like(parameter).copy_(t) for n, t in slots.items() if t.shape == parameter.shape}


def _digest(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a checkpoint's contents: header, and name, type, shape and bytes of every tensor."""
    digest = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name, t in sorted(tensors.items()):
        digest.update(f"{name} {t.dtype} {tuple(t.shape)}".encode())
        digest.update(t.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
