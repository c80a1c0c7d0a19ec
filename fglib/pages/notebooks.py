"""Executing chapters with papermill, rendering the book, serving its pages."""

import http.server
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fglib import lab
from fglib.documents import read_text
from fglib.errors import ConfigError, FglibError, unknown
from fglib.lab.places import book, root
from fglib.pages.chapter import assigned, check_parameter
from fglib.storage import user_path

if TYPE_CHECKING:
    from nbformat import NotebookNode

MAX_BYTES = 1_000_000_000  # of a notebook: one with its outputs may be large


def execute(chapter: str, parameters: dict, output: Path | None = None) -> Path:
    """Execute a chapter with parameters; returns the path of the executed notebook.

    Parameters that the notebook does not have or that a chapter would refuse raise ConfigError before a kernel
    starts. A notebook that is none, or that fails, raises FglibError with the reason and the notebook to look at.
    """
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError

    path = chapter_path(chapter)
    _check(parameters, read_notebook(path), path.name)
    if parameters.get("data_dir"):
        parameters = parameters | {"data_dir": str(user_path(parameters["data_dir"]).absolute())}
    _make_folders_absolute()
    output = output or root() / "_build" / "chapters" / path.name
    if output.resolve() == path.resolve():
        raise ConfigError(f"{output} is the notebook itself; choose another place for its outputs with -o")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(_literal(path), _literal(output), parameters=parameters, cwd=path.absolute().parent)
    except papermill.PapermillExecutionError as e:
        raise FglibError(f"chapter {path.stem} stopped: {e.ename}: {e.evalue}; see {output}") from e
    except (papermill.exceptions.PapermillException, NoSuchKernel, DeadKernelError, OSError) as e:
        raise FglibError(f"chapter {path.stem} stopped: {e}; it would have been written to {output}") from e
    return output


def chapter_path(name: str) -> Path:
    """The notebook of a chapter, by its number, its name or a path to a notebook of the user's own."""
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name)
    known = {p.stem: p for p in sorted(book().glob("*.ipynb"))}
    name = name.removesuffix(".ipynb")
    hits = [stem for stem in known if name in (stem, stem.split("_")[0])]
    if len(hits) != 1:
        raise unknown("chapter", name, known, str(book()))
    return known[hits[0]]


def read_notebook(path: Path) -> "NotebookNode":
    """The notebook in a file, in nbformat's newest version; FglibError when the file holds none."""
    import nbformat
    from nbformat.validator import ValidationError

    text = read_text(path, "notebook", error=FglibError, most=MAX_BYTES)
    try:
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
        if "kernelspec" not in notebook.metadata:
            raise ValueError("it names no kernel")
    # beside its own errors, nbformat raises whatever an unexpected value leads to
    except (ValueError, ValidationError, AttributeError, KeyError, TypeError) as e:
        reason = str(e).partition("\n")[0]
        raise FglibError(f"{path} is not a notebook that can be run: {reason}; save it again with Jupyter") from e
    return notebook


def build_book() -> Path:
    """Train the quickstart where it has no record, then render the book; returns the path of its first page."""
    _make_folders_absolute()
    print("1/2 quickstart: training on scikit-learn's digits, unless recorded", flush=True)
    lab.ensure("digits", "cpu", device="cpu")
    print("2/2 executing the chapters and rendering the pages", flush=True)
    if subprocess.run(book_command(), check=False).returncode != 0:
        raise FglibError("the book did not build; the warnings above name the page and the cell")
    return pages_dir() / "index.html"


def pages_dir() -> Path:
    """Where the rendered pages go."""
    return root() / "_build" / "html"


def book_command() -> list[str]:
    """The command that renders the book: warnings are errors, and every page is made anew.

    jupyter-book has no `python -m`; without --all a second build of a broken page would be green. Kernels take one
    thread: the chapters' toys are too small for more, and on a busy machine two would mostly wait for each other.
    """
    start = "import os; os.environ['OMP_NUM_THREADS'] = '1'; from jupyter_book.cli.main import main; main()"
    return [sys.executable, "-c", start, "build", str(root()), "-W", "--keep-going", "--all"]


def page_server(port: int) -> http.server.HTTPServer:
    """A server of the rendered pages that holds the port and waits for `serve_forever`."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(pages_dir()))
    try:
        return http.server.ThreadingHTTPServer(("localhost", port), handler)
    except OSError as e:
        raise FglibError(f"cannot serve on port {port}: {e.strerror}; choose another with --port") from e


def _check(parameters: dict, notebook: "NotebookNode", name: str) -> None:
    """ConfigError for a parameter that the notebook's cell tagged `parameters` lacks or its check would refuse."""
    tagged = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    try:
        known = assigned(tagged[0]) if tagged else []
    except SyntaxError as e:
        raise ConfigError(f"the parameters cell of {name} is not Python: {e}") from e
    checked = any("check_parameters(" in cell.source for cell in notebook.cells)
    for parameter, value in parameters.items():
        if parameter not in known:
            raise unknown("parameter", parameter, known, name)
        if checked:
            check_parameter(parameter, value)


def _literal(path: Path) -> str:
    """The absolute path as papermill wants it: it reads braces as places to fill in."""
    return str(path.absolute()).replace("{", "{{").replace("}", "}}")


def _make_folders_absolute() -> None:
    """Kernels start in their notebook's folder, where a relative folder would be another one."""
    for name in ("FGLIB_RESULTS", "FGLIB_CHECKPOINTS", "FGLIB_DATA"):
        if os.environ.get(name):
            os.environ[name] = str(user_path(os.environ[name]).absolute())
