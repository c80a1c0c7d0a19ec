"""Every chapter runs from start to end in its smoke preset, on generated data.

The cells run in this process: a kernel of its own would import torch and the rest anew for each chapter. Kernels are
what `fglib chapter` and the build of the book start; papermill's own command is tried on one chapter.
"""

import re
import sys
from types import ModuleType

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from processes import run

from fglib.errors import ConfigError, FglibError
from fglib.lab.places import book
from fglib.pages.chapter import check_parameters
from fglib.pages.notebooks import execute

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
    given = {"preset": "smoke", "seeds": "[1]", "refresh": "false", "overrides": "{train: {epochs: 2}}"}
    options = [text for name, value in given.items() for text in ("-p", name, value)]
    done = run(sys.executable, "-m", "papermill", str(path), str(tmp_path / "out.ipynb"), *options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "(train.epochs=2)" in (tmp_path / "out.ipynb").read_text()  # rows say so


GOOD = {"preset": "recorded", "seeds": None, "device": "auto", "refresh": False, "data_dir": None, "overrides": {}}


def test_good_parameters_become_keyword_arguments():
    checked = check_parameters(GOOD | {"seeds": [0, 1], "preset": "cpu"})
    assert dict(**checked) == GOOD | {"seeds": [0, 1], "preset": "cpu"}


def test_a_text_that_reads_as_what_is_wanted_is_taken():
    """papermill's `-p` hands on texts, where `-y` hands on values."""
    names = GOOD | {"seeds": "[0]", "refresh": "true", "overrides": "{train: {epochs: 2}}"}
    checked = check_parameters(names)
    assert (checked.seeds, checked.refresh, checked.overrides) == ([0], True, {"train": {"epochs": 2}})
    assert names["seeds"] == [0] and names["refresh"] is True  # in the notebook too
    assert check_parameters(GOOD | {"seeds": "null", "data_dir": "12"}).data_dir == "12"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "papre"}, "unknown preset 'papre'; did you mean 'paper'"),
        ({"seeds": 3}, "'seeds' must be a list of whole numbers"),
        ({"seeds": "[0, x]"}, "'seeds' must be a list of whole numbers"),
        ({"seeds": "[0"}, "parameter 'seeds'"),
        ({"seeds": [True]}, "'seeds' must be a list of whole numbers"),
        ({"seeds": []}, "'seeds' must be a list of whole numbers"),
        ({"refresh": "maybe"}, "'refresh' must be True or False, got 'maybe'"),
        ({"overrides": "train"}, "'overrides' must map sections to settings"),
        ({"overrides": {"train": 3}}, "'overrides' must map sections to settings"),
        ({"device": None}, "'device' must be"),
        ({"data_dir": 1}, "'data_dir' must be"),
        ({"In": ["", "preset = 1", "# Parameters\nseed = 3\n"]}, "unknown parameter 'seed'; did you mean 'seeds'"),
    ],
)
def test_bad_parameters_are_named(change, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_parameters(GOOD | change)


# The cell of a chapter that readers edit

EDITED = "11_coarse_to_fine"
BODY = "return super().instance_loss(10 * F.normalize(f, dim=1), batch)"


def test_every_chapter_has_a_cell_to_edit():
    for path in CHAPTERS:
        cells = {cell.id: cell for cell in load_notebook_node(str(path)).cells}
        source = cells["change"].source
        assert "class " in source and "lab.try_out(" in source and "report.tried_table(" in source, path.stem
        assert not {"hide-input", "remove-input"} & set(cells["change"].metadata.get("tags", [])), path.stem
        assert "smoke" in cells["change-md"].source, path.stem


def edited(old, new):
    """A chapter's notebook, cut to what its cell to edit needs, with an edit in that cell."""
    notebook = load_notebook_node(str(book() / f"{EDITED}.ipynb"))
    notebook.cells = [cell for cell in notebook.cells if cell.id in ("parameters", "check", "imports", "change")]
    assert old in notebook.cells[-1].source
    notebook.cells[-1].source = notebook.cells[-1].source.replace(old, new)
    return notebook


def git_status():
    return run("git", "-C", str(book()), "status", "--porcelain", "--ignored", "results").stdout


def test_an_edited_cell_gives_the_new_number_and_leaves_the_records(shell, monkeypatch):
    monkeypatch.chdir(book())
    before, found = git_status(), {}
    edits = {
        "as it is": (BODY, BODY),
        "again": (BODY, BODY),
        "changed lambda": ("measure=", 'method={"options": {"lambda_i": 30.0}}, measure='),
        "changed loss": (BODY, "return 0.0 * super().instance_loss(f, batch)"),
    }
    for name, edit in edits.items():
        shell.reset()
        for cell in edited(*edit).cells:
            if cell.cell_type == "code":
                shell.run_cell(cell.source, store_history=True).raise_error()
        tried = shell.user_ns["tried"]
        found[name] = tried.tried[0].history[0]
        assert len(tried.recorded.of("base_indi")) > 1
    assert found["as it is"] == found["again"]
    assert found["changed lambda"]["total"] > 2 * found["as it is"]["total"]
    assert found["changed loss"]["instance"] == 0 < found["as it is"]["instance"]
    assert git_status() == before


def test_a_broken_loss_stops_the_notebook_at_the_cell_with_its_own_error(tmp_path):
    before = git_status()
    nbformat.write(edited(BODY, "return f.no_such_thing"), tmp_path / "broken.ipynb")
    with pytest.raises(FglibError, match="chapter broken stopped: AttributeError: 'Tensor' object has no attribute"):
        execute(str(tmp_path / "broken.ipynb"), {"preset": "recorded"}, tmp_path / "out.ipynb")
    assert "no_such_thing" in (tmp_path / "out.ipynb").read_text() and git_status() == before
