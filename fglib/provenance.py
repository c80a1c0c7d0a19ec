"""Where a number comes from: date, revision, versions and processor."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fglib.paths import ROOT

PACKAGES = ("fglib", "torch", "torchvision", "numpy", "scikit-learn")


def provenance() -> dict:
    """Date (UTC), git revision, versions and processor name, for a record."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "revision": revision(),
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in PACKAGES}},
        "processor": processor(),
    }


def revision() -> str | None:
    """Short git revision, marked when the tree has changes; None outside a checkout."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "fglib"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def processor() -> str:
    """Model name of the central processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
