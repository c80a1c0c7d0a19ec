"""The machine that a training runs on: its device, its processor, its memory."""

import ctypes
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fglib.errors import FglibError, shortened

if TYPE_CHECKING:
    import torch

CPUINFO, STATUS = Path("/proc/cpuinfo"), Path("/proc/self/status")  # Linux has them
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of mallopt, from malloc.h


def pick_device(name: str) -> "torch.device":
    """`auto` is CUDA, else the CPU; an accelerator that is not there is an error."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise FglibError(f"device '{name}' was asked for, but torch finds no CUDA device; use device auto or cpu")
    try:
        device = torch.device(name)
    except RuntimeError as e:
        raise FglibError(f"unknown device {shortened(name)}; use auto, cpu, cuda or cuda:0") from e
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as e:  # what torch raises depends on the kind of the device
        raise FglibError(f"torch cannot use the device '{name}' on this machine; use auto, cpu, cuda or cuda:0") from e
    return device


def processor() -> str:
    """Model name of the central processor."""
    if CPUINFO.is_file():
        for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def peak_memory() -> int:
    """Peak memory of this process so far, in bytes."""
    if STATUS.is_file() and "VmHWM:" in (status := STATUS.read_text(encoding="utf-8", errors="replace")):
        # Linux starts the other counter at the peak of the parent process
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # kilobytes everywhere else


def keep_freed_memory() -> bool:
    """Keep freed memory in this process from now on; False where the C library has no such setting.

    glibc hands blocks of more than 32 MB, and often smaller ones, back to the kernel when they are freed, and has every
    page of the next one zeroed again. A training step frees and asks for the same blocks hundreds of times: kept, a
    small ResNet's step takes a quarter less time on two cores, the gradient of a large instance head a third.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, musl does not
    return mallopt is not None and bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
