"""Building the book, and serving its pages."""

import http.server
import subprocess
import sys
from functools import partial
from pathlib import Path

from fglib import lab
from fglib.errors import FglibError
from fglib.lab.places import root
from fglib.pages.executed import execute_all
from fglib.pages.kernels import FORK, warm_up
from fglib.pages.notebooks import make_folders_absolute


def build_book(folder: Path | None = None) -> Path:
    """Train the quickstart where it has no record, execute the chapters, render the pages; returns the first page.

    folder: the pages go to `_build/html` in it, by default in the folder of the book's sources. What an earlier build
    executed is taken from there as long as notebook, code, records and data are the same.
    """
    make_folders_absolute()
    folder = folder or root()
    print("1/3 quickstart: training on scikit-learn's digits, unless recorded", flush=True)
    if not all(plan.recorded for plan in lab.plans("digits", "cpu")):
        if FORK:  # beside the training
            warm_up()
        lab.ensure("digits", "cpu", device="cpu")
    print("2/3 executing the chapters, unless nothing has changed that they show", flush=True)
    execute_all()
    print("3/3 rendering the pages", flush=True)
    if subprocess.run(render_command(root(), folder), check=False).returncode != 0:
        raise FglibError("the book did not build; the warnings above name the page")
    return folder / "_build" / "html" / "index.html"


def render_command(book: Path, folder: Path) -> list[str]:
    """The command that renders a book into a folder: warnings are errors, and every page is made anew.

    jupyter-book has no `python -m`; without --all a second build of a broken page would be green.
    """
    start = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    return [*start, "build", str(book), "--path-output", str(folder), "-W", "--keep-going", "--all"]


def page_server(port: int) -> http.server.HTTPServer:
    """A server of the rendered pages that holds the port and waits for `serve_forever`."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(root() / "_build" / "html"))
    try:
        return http.server.ThreadingHTTPServer(("localhost", port), handler)
    except OSError as e:
        raise FglibError(f"cannot serve on port {port}: {e.strerror}; choose another with --port") from e
