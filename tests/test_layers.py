"""The layers of the package, as pyproject.toml states them: nothing imports upwards, and no imports go in a circle."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECK = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def check(folder):
    """Whether the contracts hold in a checkout, and what is said of them."""
    env = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", CHECK], cwd=folder, env=env, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def test_nothing_imports_upwards_and_nothing_in_a_circle():
    holds, said = check(ROOT)
    assert holds, said
    assert "2 kept, 0 broken" in said


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("errors", "import fglib.config"),
        ("losses/patterns", "from fglib.models import Trunk"),
        ("data/images", "from fglib.retrieval import evaluate_retrieval"),
        ("methods/protocol", "import fglib.train"),
        ("lab/records", "from fglib.pages import plots"),
        ("lab/records", "from fglib.lab.run import train_one"),
    ],
)
def test_an_import_that_runs_upwards_or_in_a_circle_is_found(tmp_path, module, line):
    shutil.copytree(ROOT / "fglib", tmp_path / "fglib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    changed = tmp_path / f"fglib/{module}.py"
    changed.write_text(f"{changed.read_text()}\n{line}\n")
    holds, said = check(tmp_path)
    assert not holds and "broken" in said, said
