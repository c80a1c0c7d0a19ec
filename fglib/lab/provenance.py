"""Where a number comes from: date, revision, versions and processor."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fglib.machine import processor

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
    """$FGLIB_REVISION, or the short git revision, marked when the package has changes; None outside a checkout."""
    if named := os.environ.get("FGLIB_REVISION"):
        return named
    git = ["git", "-C", str(Path(__file__).resolve().parents[1])]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "."], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
