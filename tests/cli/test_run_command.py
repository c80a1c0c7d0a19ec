"""`fglib chapter` and `fglib book`: chapters through papermill, and what is refused before a kernel starts."""

import json
import logging
import socket
from pathlib import Path

import nbformat.v4 as nb
import pytest

from fglib.lab.places import book
from fglib.pages import build, notebooks


@pytest.fixture
def notebook(folders):
    """notebook(path, *sources, parameters=None, kernel="python3") writes a notebook of code cells; returns the path."""

    def write(path, *sources, parameters=None, kernel="python3"):
        cells = [nb.new_code_cell(source) for source in sources]
        if parameters:
            cells.insert(0, nb.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        metadata = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
        text = json.dumps(nb.new_notebook(cells=cells, metadata=metadata))
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(text)
        return path

    return write


def printed(path) -> str:
    """What the cells of an executed notebook printed."""
    outputs = [o for cell in json.loads(Path(path).read_text())["cells"] for o in cell.get("outputs", [])]
    return "".join("".join(o["text"]) for o in outputs if o["output_type"] == "stream")


def test_run_executes_a_chapter_through_papermill(fglib, folders, caplog):
    out = folders / "quick.ipynb"
    with caplog.at_level(logging.WARNING):
        code, said, err = fglib("chapter", "00", "--preset", "smoke", "-p", "seeds=[0]", "-o", str(out))
    assert code == 0, err
    assert said.strip() == str(out)
    assert "unknown parameter" not in caplog.text
    cells = json.loads(out.read_text())["cells"]
    assert any("seeds = [0]" in "".join(c["source"]) for c in cells)
    assert len(list((folders / "results" / "digits").glob("*.smoke.s0.*"))) == 2


def test_a_kernel_finds_relative_folders_where_the_command_does(fglib, folders, notebook, monkeypatch):
    monkeypatch.setenv("FGLIB_RESULTS", "here")
    show = "import os; print(data_dir, *(os.environ[f'FGLIB_{n}'] for n in ('RESULTS', 'CHECKPOINTS', 'DATA')))"
    path = notebook("deep/a.ipynb", show, parameters="data_dir = 1")
    code, said, err = fglib("chapter", path, "-p", "data_dir=mine", "-o", "out.ipynb")
    assert (code, said) == (0, "out.ipynb\n"), err
    assert printed("out.ipynb").split() == [str(folders / name) for name in ("mine", "here", "checkpoints", "data")]


def test_braces_in_a_path_are_part_of_it(fglib, notebook):
    path = notebook("{draft}.ipynb", "print(6 * 7)")
    assert fglib("chapter", path, "-o", "{pm}/out {0}.ipynb")[0] == 0
    assert printed("{pm}/out {0}.ipynb") == "42\n"


@pytest.fixture
def no_kernel(monkeypatch):
    """Fails the test that starts a kernel."""
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, **__: pytest.fail("a kernel was started"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("11", "-p", "sed=1"), "unknown parameter 'sed' in 11_coarse_to_fine.ipynb; did you mean 'seeds'"),
        (("11", "--preset", "papre"), "unknown preset 'papre'; did you mean 'paper'"),
        (("11", "-p", "seeds=0,1"), "parameter 'seeds' must be a list of whole numbers such as [0, 1, 2] or None"),
        (("11", "-p", "refresh=1"), "parameter 'refresh' must be True or False, got 1"),
        (("claims", "--preset", "smoke"), "unknown parameter 'preset' in claims.ipynb. Valid: none"),
        (("performance", "-p", "seeds=[0]"), "unknown parameter 'seeds' in performance.ipynb. Valid: none"),
    ],
)
def test_parameters_are_refused_before_a_kernel_starts(fglib, no_kernel, arguments, message):
    code, out, err = fglib("chapter", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"fglib: {message}")


def test_a_notebook_of_ones_own_has_its_own_parameters(fglib, notebook, no_kernel):
    path = notebook("own.ipynb", "print(seeds)", parameters="seeds: int | None = 3")
    assert "unknown parameter 'preset' in own.ipynb. Valid: seeds" in fglib("chapter", path, "--preset", "cpu")[2]
    with pytest.raises(pytest.fail.Exception, match="a kernel was started"):
        notebooks.execute(path, {"seeds": 4}, Path("out.ipynb"))
    path = notebook("magic.ipynb", parameters="%matplotlib inline")
    assert "the parameters cell of magic.ipynb is not Python" in fglib("chapter", path, "-p", "a=1")[2]


INVALID = [
    json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})
    for cells, metadata in ((3, {}), ([{}], {}), ([], {"kernelspec": {}}), ([], {}))
]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", *INVALID])
def test_a_file_that_is_no_notebook_is_one_sentence(fglib, folders, no_kernel, text):
    (folders / "bad.ipynb").write_text(text)
    code, out, err = fglib("chapter", "bad.ipynb")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("fglib: bad.ipynb is not a notebook that can be run: ")


@pytest.mark.parametrize(
    ("source", "kernel", "reason"),
    [
        ("1 / 0", "python3", "ZeroDivisionError: division by zero; see out.ipynb"),
        ("import os; os._exit(9)", "python3", "Kernel died; "),
        ("", "absent", "No such kernel named absent; "),
    ],
)
def test_what_stops_a_notebook_is_one_sentence(fglib, notebook, source, kernel, reason):
    path = notebook("a.ipynb", source, kernel=kernel)
    code, out, err = fglib("chapter", path, "-o", "out.ipynb")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith(f"fglib: chapter a stopped: {reason}")


def test_a_notebook_is_not_overwritten(fglib, notebook, no_kernel):
    path = notebook("a.ipynb", "1")
    code, _, err = fglib("chapter", path, "-o", "./a.ipynb")
    assert (code, err.count("\n")) == (2, 1) and err.startswith("fglib: a.ipynb is the notebook itself")


def test_an_output_that_cannot_be_written_is_one_sentence(fglib, folders, notebook):
    (folders / "file").touch()
    code, _, err = fglib("chapter", notebook("a.ipynb", "1"), "-o", "file/out.ipynb")
    assert (code, err.count("\n")) == (1, 1) and err.startswith("fglib: chapter a stopped: [Errno ")


def test_a_port_in_use_shows_before_the_book_is_built(fglib, monkeypatch):
    monkeypatch.setattr(build, "build_book", lambda: pytest.fail("the book was built"))
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = fglib("book", "--serve", "--port", str(port))
    assert (code, out) == (1, "")
    assert err == f"fglib: cannot serve on port {port}: Address already in use; choose another with --port\n"


def test_the_book_is_served_until_ctrl_c(fglib, monkeypatch):
    def interrupted(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "build_book", lambda: book() / "index.html")
    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", interrupted)
    with socket.create_server(("localhost", 0)) as free:
        port = str(free.getsockname()[1])
    code, out, err = fglib("book", "--serve", "--port", port)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"The book: {book()}/index.html", f"Serving on http://localhost:{port}, Ctrl-C ends it"]
