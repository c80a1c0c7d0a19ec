"""Chapters with their outputs: executed side by side, each in a process of its own, and kept while nothing changes."""

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import nbformat
import nbformat.v4 as nb
import psutil
import pytest
from processes import HANG

from fglib.errors import FglibError
from fglib.pages import executed, kernels

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@pytest.fixture
def book(tmp_path, monkeypatch):
    """book(name=source, ...) writes notebooks of one cell into a book of its own; returns its folder."""
    for name in ("book", "fglib", "records", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "_toc.yml").touch()
    monkeypatch.setenv("FGLIB_BOOK", str(tmp_path))
    monkeypatch.setattr(executed, "PACKAGE", tmp_path / "fglib")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "records"))
    monkeypatch.setenv("FGLIB_DATA", str(tmp_path / "data"))
    executed._surroundings.cache_clear()

    def write(**sources):
        for name, source in sources.items():
            notebook = nb.new_notebook(cells=[nb.new_code_cell(source, id="cell")], metadata={"kernelspec": KERNEL})
            (tmp_path / "book" / f"{name}.ipynb").write_text(nbformat.writes(notebook))
        return tmp_path / "book"

    yield write
    executed._surroundings.cache_clear()


def printed(folder, name):
    """What the notebook's cell prints, and what it ends with."""
    (cell,) = executed.executed((folder / f"{name}.ipynb").read_text()).cells
    return "".join(output.get("text", "") for output in cell.outputs)


def no_kernel(*_):
    pytest.fail("a kernel was started")


def test_chapters_run_side_by_side_in_processes_of_their_own(book, monkeypatch):
    # each waits for the other, and ends only when both are under way
    meet = """
import os, time
open("{0}.here", "w").close()
while not os.path.exists("{1}.here"):
    time.sleep(0.01)
print(os.getpid(), os.environ["OMP_NUM_THREADS"], os.getcwd())"""
    folder = book(a=meet.format("a", "b"), b=meet.format("b", "a"))
    executed.execute_all()
    assert multiprocessing.active_children() == []
    monkeypatch.setattr(executed, "execute", no_kernel)
    (one, *where), (other, *_) = printed(folder, "a").split(), printed(folder, "b").split()
    assert len({one, other, str(os.getpid())}) == 3
    assert where == ["1", str(folder)]


def test_outputs_are_those_of_a_kernel(book):
    folder = book(a="import matplotlib.pyplot as plt\nprint(1)\nplt.plot([1, 2])\nplt.show()\nprint(2)\n6 * 7")
    (cell,) = executed.executed((folder / "a.ipynb").read_text()).cells
    assert [output.output_type for output in cell.outputs] == ["stream", "display_data", "stream", "execute_result"]
    assert "image/png" in cell.outputs[1].data
    assert cell.outputs[3].data["text/plain"] == "42"


def test_a_changed_notebook_is_executed_again_and_its_old_outputs_go(book):
    folder = book(a="print(1)", b="print(2)")
    executed.execute_all()
    kept = set(executed.kept_dir().iterdir())
    book(a="print(3)")
    executed.execute_all()
    assert printed(folder, "a") == "3\n"
    assert len(kept & set(executed.kept_dir().iterdir())) == 1
    assert len(list(executed.kept_dir().iterdir())) == 2


@pytest.mark.parametrize(
    "path", ["fglib/losses/a.py", "book/claims.yml", "book/experiments/a.yml", "records/a/run.json", "data/cifar100/a"]
)
def test_outputs_depend_on_code_claims_experiments_records_and_data(book, tmp_path, path):
    book()
    places = {executed._place("text"), executed._place("other text")}
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    for content in ("1", "2"):
        (tmp_path / path).write_text(content)
        executed._surroundings.cache_clear()
        places.add(executed._place("text"))
    # of data, which may be large, only the folders and their times count
    assert len(places) == (3 if path.startswith("data") else 4)


def test_a_chapter_that_fails_is_named_and_leaves_no_outputs(book, capfd):
    book(bad="print('before')\n1 / 0", dead="import os; os._exit(9)", good="print(1)")
    for _ in range(2):
        with pytest.raises(FglibError, match="^the book was not built: bad, dead stopped"):
            executed.execute_all()
        err = capfd.readouterr().err
        assert "bad stopped: " in err and "division by zero" in err
        assert "dead stopped: Kernel died" in err
        assert len(list(executed.kept_dir().iterdir())) == 1


def test_what_is_no_notebook_is_named(book, capfd):
    (book() / "broken.ipynb").write_text("{")
    with pytest.raises(FglibError, match="^the book was not built: broken stopped"):
        executed.execute_all()
    assert capfd.readouterr().err.startswith("broken is not a notebook that can be run: ")


def test_a_cell_that_takes_too_long_is_an_error(book, monkeypatch):
    monkeypatch.setattr(kernels, "TIMEOUT", 1)
    folder = book(slow="while True: pass")
    with pytest.raises(FglibError, match="a notebook of the book stopped: A cell timed out"):
        printed(folder, "slow")


def test_kernels_can_be_ended(book):
    folder = book(a="open('started', 'w').close()\nwhile True: pass")
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(printed, folder, "a")
        while not (folder / "started").exists() and not outcome.done():
            time.sleep(0.01)
        kernels.end_all()
        with pytest.raises(FglibError, match="Kernel died"):
            outcome.result()
    assert multiprocessing.active_children() == []


def test_a_kernel_ends_with_the_process_that_started_it(book):
    folder = book(a="import os\nopen('.pid', 'w').write(str(os.getpid()))\nos.rename('.pid', 'pid')\nwhile True: pass")
    start = "import sys; from fglib.pages import executed; executed.executed(open(sys.argv[1]).read())"
    with subprocess.Popen([sys.executable, "-c", start, str(folder / "a.ipynb")]) as process:
        while not (folder / "pid").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    kernel = int((folder / "pid").read_text())
    deadline = time.monotonic() + HANG
    while psutil.pid_exists(kernel):
        assert time.monotonic() < deadline
        time.sleep(0.01)
