"""The precision of a training's products: float32, or bfloat16 under autocast where the processor is faster with it.

bfloat16 halves the time of wide convolutions on CPUs that have instructions for it, does nothing for narrow or
depthwise ones, and is slow elsewhere. So "auto" measures both on the network at hand, once for each network and
machine. It is a setting of the execution, such as the device: not part of a run's key, but said in its record and kept
when the run goes on.
"""

import copy
import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from fglib.errors import FglibError
from fglib.machine import processor
from fglib.storage import user_path, write_atomically

PRECISIONS = {"float32": None, "bf16": torch.bfloat16}
FASTER = 1.25  # bfloat16 is taken from this gain on; below it the digits are worth more
PASSES = 3  # forward and backward, of which the fastest counts


def choose(wanted: str, trunk: nn.Module, images: Tensor) -> str:
    """ "float32" or "bf16" for a wanted precision, which may be "auto"; `images` are a batch (B, 3, H, W) in [0, 1]."""
    if wanted != "auto":
        return wanted
    if images.device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "float32"
    path = user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "fglib" / "precision.json"
    known = _read(path)
    about = (repr(trunk), tuple(images.shape), processor(), torch.__version__, torch.get_num_threads())
    name = hashlib.sha256(repr(about).encode()).hexdigest()[:16]
    if name not in known:
        seconds = {precision: _seconds(trunk, images, amp) for precision, amp in PRECISIONS.items()}
        known[name] = "bf16" if seconds["bf16"] * FASTER < seconds["float32"] else "float32"
        with suppress(FglibError):  # a folder that cannot be written costs the next run two seconds
            write_atomically(path, (json.dumps(known, indent=1) + "\n").encode())
    return known[name]


def _seconds(trunk: nn.Module, images: Tensor, amp: torch.dtype | None) -> float:
    """Of a forward and backward pass, on a copy: no weight, statistic or random draw of the training moves."""
    network, best = copy.deepcopy(trunk).train(), float("inf")
    with torch.random.fork_rng([]):
        for _ in range(PASSES + 1):  # the first one sets up
            start = time.process_time()
            with torch.autocast(images.device.type, amp, enabled=amp is not None):
                features = network(images)
            features.float().square().mean().backward()
            best = min(best, time.process_time() - start)
    return best


def _read(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in known.items() if v in PRECISIONS} if isinstance(known, dict) else {}
