"""What `fglib doctor` looks at."""

import shutil
import sys
from importlib.util import find_spec

from fglib import lab
from fglib.data.sources import SOURCES, status
from fglib.lab.grid import load_experiment
from fglib.lab.places import checkpoints_dir, experiment_files, find_root, results_dir
from fglib.machine import processor

BOOK_PACKAGES = ("jupyter_book", "papermill", "captum", "pandas", "seaborn", "jupyterlab")


def examine() -> list[dict]:
    """Findings: what was looked at, what was found, whether it is well, and whether the library needs it."""
    import torch

    found = [
        _finding("python", sys.version.split()[0], sys.version_info >= (3, 11)),
        _finding("torch", torch.__version__),
        _finding("processor", f"{processor()}, {torch.get_num_threads()} threads"),
    ]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: the paper presets want one"
    found.append(_finding("GPU", gpu, torch.cuda.is_available(), needed=False))
    absent = [p for p in BOOK_PACKAGES if find_spec(p) is None]
    found.append(
        _finding("book packages", f"missing: {', '.join(absent)}" if absent else "all there", not absent, False)
    )
    book = find_root()
    found.append(
        _finding("book", str(book or "none: work in a checkout, or name one in FGLIB_BOOK"), bool(book), False)
    )
    for folder in (results_dir(), checkpoints_dir()) if book else ():
        near = next(p for p in (folder, *folder.parents) if p.is_dir())
        free = shutil.disk_usage(near).free
        found.append(_finding(str(folder), f"{free / 2**30:.1f} GB free", free > 2**30, needed=False))
    for name in SOURCES:
        there, where, how = status(name)
        found.append(_finding(f"data {name}", str(where or "made in memory") if there else how, there, needed=False))
    for path in experiment_files() if book else ():
        experiment = load_experiment(path)
        results = lab.recorded(experiment)
        text = f"{len(results.runs)} runs of preset {results.preset}" if results else f"none; {results.command}"
        found.append(_finding(f"records {experiment.name}", text, bool(results), needed=False))
    return found


def _finding(what: str, found: str, ok: bool = True, needed: bool = True) -> dict:
    return {"what": what, "found": found, "ok": ok, "needed": needed}
