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

    findings = []

    def add(what: str, found: str, ok: bool = True, needed: bool = False) -> None:
        findings.append({"what": what, "found": found, "ok": ok, "needed": needed})

    add("python", sys.version.split()[0], sys.version_info >= (3, 11), needed=True)
    add("torch", torch.__version__, needed=True)
    add("processor", f"{processor()}, {torch.get_num_threads()} threads", needed=True)
    gpu = torch.cuda.is_available()
    add("GPU", torch.cuda.get_device_name() if gpu else "none: the paper presets want one", gpu)
    absent = [p for p in BOOK_PACKAGES if find_spec(p) is None]
    add("book packages", f"missing: {', '.join(absent)}" if absent else "all there", not absent)
    book = find_root()
    add("book", str(book or "none: work in a checkout, or name one in FGLIB_BOOK"), bool(book))
    for folder in (results_dir(), checkpoints_dir()) if book else ():
        near = next(p for p in (folder, *folder.parents) if p.is_dir())
        free = shutil.disk_usage(near).free
        add(str(folder), f"{free / 2**30:.1f} GB free", free > 2**30)
    for name in SOURCES:
        there, where, how = status(name)
        add(f"data {name}", str(where or "made in memory") if there else how, there)
    for path in experiment_files() if book else ():
        results = lab.recorded(load_experiment(path))
        text = f"{len(results.runs)} runs of preset {results.preset}" if results else f"none; {results.command}"
        add(f"records {path.stem}", text, bool(results))
    return findings
