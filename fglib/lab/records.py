"""Records of runs: `run.json` (configuration, metrics, history, provenance, fingerprints) and `arrays.npz`.

A record is checked where it is read: what is damaged, edited or of another run is refused in one sentence.
"""

import hashlib
import io
import json
import math
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from fglib.documents import read_json
from fglib.errors import FglibError, RecordError, shortened
from fglib.machine import processor
from fglib.storage import write_atomically

MAX_ARRAY_BYTES = 1_000_000
PACKAGES = ("fglib", "torch", "torchvision", "numpy", "scikit-learn")  # whose versions a record has

CURRENT, CHANGED, UNKNOWN = STANDINGS = (
    "made by the code as it is now",
    "made by code that has changed since",
    "made before fingerprints were kept",
)


@dataclass(frozen=True)
class Run:
    """A recorded run.

    fingerprints: of the "data" and the "code" that made it; empty for a record made before they were kept.
    digest: SHA-256 of the arrays; None for such a record.
    """

    plan: "Plan"  # noqa: F821 (fglib.lab.results reads records)
    metrics: dict[str, float | None]
    history: list[dict[str, float | None]]
    provenance: dict
    measured: tuple[str, ...]
    fingerprints: dict[str, str] = field(default_factory=dict)
    digest: str | None = None

    @property
    def standing(self) -> str:
        """Whether the code that trained this run is today's, one of STANDINGS."""
        code = self.fingerprints.get("code")
        return UNKNOWN if code is None else CURRENT if code == self.plan.code else CHANGED

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays for figures; RecordError when the file is missing, damaged or not of this record."""
        path = self.plan.folder / "arrays.npz"
        try:
            data = path.read_bytes()
            if self.digest not in (None, hashlib.sha256(data).hexdigest()):
                raise ValueError("it is not the file that run.json has the digest of")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, BadZipFile) as e:
            raise RecordError(f"the arrays {path} cannot be read ({e}); train again with refresh") from e


def not_current(runs: Sequence[Run]) -> str:
    """How many of some runs were not made by today's code, in words; empty when all were."""
    counts = Counter(run.standing for run in runs)
    parts = [f"{counts[name]} of {len(runs)} records were {name}" for name in (CHANGED, UNKNOWN) if counts[name]]
    return " and ".join(parts)


def read_record(plan: "Plan") -> Run:  # noqa: F821
    """The record of a plan; RecordError unless there is one that is whole and of its key and seed."""
    path = plan.folder / "run.json"
    advice = "restore it from version control, or delete its folder and train again"
    try:
        record = read_json(path, "record")
        if (record["key"], record["seed"]) != (plan.config.key(), plan.seed):
            raise ValueError(f"it is of key {shortened(record['key'])} and seed {shortened(record['seed'])}")
        return Run(
            plan,
            _numbers("metrics", record["metrics"]),
            [_numbers("history", epoch) for epoch in _typed("history", record["history"], list)],
            _typed("provenance", record["provenance"], dict),
            tuple(_typed("config.measure", record["config"]["measure"], list)),
            _typed("fingerprints", record.get("fingerprints", {}), dict),
            record.get("arrays"),
        )
    except RecordError as e:
        raise RecordError(f"{e}; {advice}") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise RecordError(f"the record {path} is not a run record ({type(e).__name__}: {e}); {advice}") from e


def write_record(
    plan: "Plan",  # noqa: F821
    metrics: dict,
    history: list,
    arrays: dict,
    origin: dict,
    fingerprints: dict[str, str] | None = None,
) -> None:
    """Write a record, arrays first: `run.json` is what makes a record count, and it comes last.

    origin: how the run was trained, which joins its provenance. fingerprints: as in `Run`.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    data = buffer.getvalue()
    if len(data) > MAX_ARRAY_BYTES:
        raise FglibError(
            f"the arrays of {plan.name} take {len(data):,} bytes, over the {MAX_ARRAY_BYTES:,} a record may "
            "hold; let its measures keep fewer pictures"
        )
    record = {
        "experiment": plan.experiment.name,
        "variant": plan.variant,
        "preset": plan.preset,
        "seed": plan.seed,
        "key": plan.config.key(),
        "config": plan.config.to_dict(),
        # JSON has no NaN: a metric that is not defined on this data is null
        "metrics": {k: v if math.isfinite(v) else None for k, v in metrics.items()},
        "history": history,
        "provenance": provenance() | origin,
        "fingerprints": fingerprints or {},
        "arrays": hashlib.sha256(data).hexdigest(),
    }
    write_atomically(plan.folder / "arrays.npz", data)
    write_json(plan.folder / "run.json", record)


def write_json(path: Path, record: dict) -> None:
    """A record's JSON, laid out as in all of them."""
    write_atomically(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())


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
    with suppress(PackageNotFoundError):
        return version(package)
    return None


def _typed(name: str, value: object, kind: type) -> object:
    if not isinstance(value, kind):
        raise TypeError(f"'{name}' is {shortened(value)}, not a {kind.__name__}")
    return value


def _numbers(name: str, values: object) -> dict[str, float | None]:
    for key, value in _typed(name, values, dict).items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not number:
            raise TypeError(f"'{key}' of '{name}' is {shortened(value)}, not a number")
    return values
