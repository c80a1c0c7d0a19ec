"""Executing chapters with papermill and rendering the book."""

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
    if subprocess.run(book_command(), check=False).returncode != 0:
        raise FglibError("the book did not build; the warnings above name the page and the cell")
    return ROOT / "_build" / "html" / "index.html"


def book_command() -> list[str]:
    """The command that renders the book: warnings are errors, and every page is made anew.

    jupyter-book has no `python -m`; without --all a second build of a broken page would be green.
    """
    start = "from jupyter_book.cli.main import main; main()"
    return [sys.executable, "-c", start, "build", str(ROOT), "-W", "--keep-going", "--all"]
