"""Notebooks of chapters: found, read, checked, and executed with papermill."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fglib.documents import read_text
from fglib.errors import ConfigError, FglibError, check_known, unknown
from fglib.lab.places import book, root
from fglib.pages.chapter import assigned, read_parameter
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
    text = read_text(path, "notebook", error=FglibError, most=MAX_BYTES)
    _check(parameters, parse_notebook(text, path), path.name)
    if parameters.get("data_dir"):
        parameters = parameters | {"data_dir": str(user_path(parameters["data_dir"]).absolute())}
    make_folders_absolute()
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


def parse_notebook(text: str, name: Path | str) -> "NotebookNode":
    """The notebook in a text, in nbformat's newest version; FglibError, which has its `name`, for a text of none."""
    import nbformat
    from nbformat.validator import ValidationError

    try:
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
        if "kernelspec" not in notebook.metadata:
            raise ValueError("it names no kernel")
    # beside its own errors, nbformat raises whatever an unexpected value leads to
    except (ValueError, ValidationError, AttributeError, KeyError, TypeError) as e:
        reason = str(e).partition("\n")[0]
        raise FglibError(f"{name} is not a notebook that can be run: {reason}; save it again with Jupyter") from e
    return notebook


def make_folders_absolute() -> None:
    """Kernels start in their notebook's folder, where a relative folder would be another one."""
    for name in ("FGLIB_RESULTS", "FGLIB_CHECKPOINTS", "FGLIB_DATA"):
        if os.environ.get(name):
            os.environ[name] = str(user_path(os.environ[name]).absolute())


def _check(parameters: dict, notebook: "NotebookNode", name: str) -> None:
    """ConfigError for a parameter that the notebook's cell tagged `parameters` lacks or its check would refuse."""
    tagged = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    try:
        known = assigned(tagged[0]) if tagged else []
    except SyntaxError as e:
        raise ConfigError(f"the parameters cell of {name} is not Python: {e}") from e
    checked = any("check_parameters(" in cell.source for cell in notebook.cells)
    for parameter, value in parameters.items():
        check_known("parameter", parameter, known, name)
        if checked:
            read_parameter(parameter, value)


def _literal(path: Path) -> str:
    """The absolute path as papermill wants it: it reads braces as places to fill in."""
    return str(path.absolute()).replace("{", "{{").replace("}", "}}")
