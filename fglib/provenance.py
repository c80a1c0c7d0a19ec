"""Where a number comes from: date, revision, versions, processor and memory."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fglib.paths import ROOT

PACKAGES = ("fglib", "torch", "torchvision", "numpy", "scikit-learn")
CPUINFO, STATUS = Path("/proc/cpuinfo"), Path("/proc/self/status")  # Linux has them


def provenance() -> dict:
    """Date (UTC), git revision, versions and processor name, for a record."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "revision": revision(),
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in PACKAGES}},
        "processor": processor(),
    }


def revision() -> str | None:
    """$FGLIB_REVISION, or the short git revision, marked when the package has changes; None outside a checkout."""
    if named := os.environ.get("FGLIB_REVISION"):
        return named
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "fglib"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
