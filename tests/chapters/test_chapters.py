"""Every chapter runs from start to end in its smoke preset, on generated data.

The cells run in this process: a kernel of its own would import torch and the rest anew for each chapter. Kernels are
what `fglib run` and the build of the book start; papermill's own command is tried on one chapter.
"""

import re
import sys
from types import ModuleType

import matplotlib
import matplotlib.pyplot as plt
import pytest
from IPython.core.interactiveshell import InteractiveShell
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from processes import run

from fglib.errors import ConfigError
from fglib.lab.places import book
from fglib.pages.chapter import check_parameters

CHAPTERS = sorted(p for p in book().glob("*.ipynb") if re.match(r"\d\d_", p.name))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """One folder for all chapters: what one has trained, the next one loads, as on a reader's machine."""
    return tmp_path_factory.mktemp("records")


@pytest.fixture
def environment(records, tmp_path, monkeypatch):
    """The folders of records and checkpoints, no data, and the chapter's folder to work in."""
    monkeypatch.setenv("FGLIB_RESULTS", str(records / "results"))
    monkeypatch.setenv("FGLIB_CHECKPOINTS", str(records / "checkpoints"))
    monkeypatch.setenv("FGLIB_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(book())


@pytest.fixture(scope="module")
def shell():
    """What a kernel runs cells with, without the kernel; the one that `display` finds."""
    shell = InteractiveShell.instance(user_module=ModuleType("chapter"))
    shell.history_manager.enabled = False
    yield shell
    InteractiveShell.clear_instance()


# matplotlib asks tensors for arrays in numpy's new way, which torch does not know yet
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")  # said where there is a desktop
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_runs_in_the_smoke_preset(path, environment, shell):
    notebook = parameterize_notebook(load_notebook_node(str(path)), {"preset": "smoke"})
    shell.reset()
    with matplotlib.rc_context():
        for cell in notebook.cells:
            if cell.cell_type == "code":
                shell.run_cell(cell.source, store_history=True).raise_error()
        plt.close("all")


def test_papermill_runs_a_chapter(environment, tmp_path):
    path = book() / "13_cost_of_instances.ipynb"
    done = run(sys.executable, "-m", "papermill", str(path), str(tmp_path / "out.ipynb"), "-p", "preset", "smoke")
    assert done.returncode == 0, done.stderr[-3000:]


GOOD = {"preset": "recorded", "seeds": None, "device": "auto", "refresh": False, "data_dir": None}


def test_good_parameters_become_keyword_arguments():
    checked = check_parameters(GOOD | {"seeds": [0, 1], "preset": "cpu"})
    assert dict(**checked) == GOOD | {"seeds": [0, 1], "preset": "cpu"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "papre"}, "unknown preset 'papre'; did you mean 'paper'"),
        ({"seeds": 3}, "'seeds' must be a list of whole numbers"),
        ({"seeds": "[0,1]"}, "'seeds' must be a list of whole numbers"),
        ({"seeds": [True]}, "'seeds' must be a list of whole numbers"),
        ({"seeds": []}, "'seeds' must be a list of whole numbers"),
        ({"refresh": "true"}, "'refresh' must be True or False, got 'true'"),
        ({"device": None}, "'device' must be"),
        ({"data_dir": 1}, "'data_dir' must be"),
        ({"In": ["", "preset = 1", "# Parameters\nseed = 3\n"]}, "unknown parameter 'seed'; did you mean 'seeds'"),
    ],
)
def test_bad_parameters_are_named(change, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_parameters(GOOD | change)
