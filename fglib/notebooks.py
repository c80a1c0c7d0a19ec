"""Executing chapters with papermill and rendering the book."""

import os
import subprocess
import sys
from pathlib import Path

from fglib import runs
from fglib.chapter import KNOWN
from fglib.errors import FglibError, unknown
from fglib.paths import ROOT, chapter_path


def execute(chapter: str, parameters: dict, output: Path | None = None) -> Path:
    """Execute a chapter with parameters; returns the path of the executed notebook.

    Unknown parameters are refused before a kernel starts. A chapter that fails raises FglibError with its error
    and the notebook to look at.
    """
    import papermill

    path = chapter_path(chapter)
    for name in parameters:
        if name not in KNOWN:
            raise unknown("parameter", name, KNOWN, path.name)
    output = output or ROOT / "_build" / "chapters" / path.name
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(str(path), str(output), parameters=parameters, cwd=str(path.parent))
    except papermill.PapermillExecutionError as e:
        raise FglibError(f"chapter {path.stem} stopped: {e.ename}: {e.evalue}; see {output}") from e
    return output


def build_book() -> Path:
    """Train the quickstart where it has no record, then render the book; returns the path of its first page."""
    print("1/2 quickstart: training on scikit-learn's digits, unless recorded", flush=True)
    runs.ensure("digits", "cpu", device="cpu")
    print("2/2 executing the chapters and rendering the pages", flush=True)
    command = [sys.executable, "-m", "jupyter_book", "build", str(ROOT), "-W", "--keep-going", "--all"]
    # the chapters load records; two kernels' worth of threads would only get in each other's way
    environment = os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        raise FglibError("the book did not build; the warnings above name the page and the cell")
    return ROOT / "_build" / "html" / "index.html"
