"""CONTRIBUTING's example, followed to the letter in a copy: a method is added by four files and one line."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from processes import run

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:python|yaml)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
FILES = {block.split("\n")[0].removeprefix("# "): block.split("\n", 1)[1] for block in BLOCKS if block.startswith("# ")}
(LINE,) = (block for block in BLOCKS if not block.startswith("# "))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the checkout, without results, in which the example is added."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("fglib", "tests", "book/experiments"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "_toc.yml", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, root)
    for name, text in FILES.items():
        assert not (root / name).exists(), f"{name} is there before it is added"
        (root / name).write_text(text, encoding="utf-8")
    table = root / "fglib/methods/__init__.py"
    before = table.read_text(encoding="utf-8")
    last = re.search(r'^ +"\w+": "\w+\.\w+",\n(?=    \}\n\))', before, re.MULTILINE)
    table.write_text(before[: last.end()] + LINE + before[last.end() :], encoding="utf-8")
    return root


@pytest.fixture
def here(copy, monkeypatch):
    """here(*command) runs a command in the copy."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("FGLIB_")}
    return lambda *command: run(*command, cwd=copy, env=env | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"})


def test_the_example_is_four_files_and_one_line():
    kinds = [re.sub("normface", "<>", name) for name in FILES]
    wanted = ["fglib/losses/<>.py", "fglib/methods/<>.py", "book/experiments/<>.yml", "tests/losses/test_<>.py"]
    assert kinds == wanted and LINE.count("\n") == 1


def test_it_trains_beside_the_others(here, copy):
    done = here(sys.executable, "-m", "fglib", "train", "normface", "--preset", "smoke", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^recorded  normface\.smoke\.s0\.\w+  .*fine_r1", done.stdout, re.MULTILINE), done.stdout
    assert len(list((copy / "book/results/normface").iterdir())) == 2  # beside base


def test_its_test_and_those_of_all_methods_and_of_the_layers_pass(here):
    every = ["tests/methods/test_precision.py", "tests/methods/test_no_waiting.py", "tests/test_layers.py"]
    every += ["tests/pages/test_plots.py", "tests/lab/test_code_fingerprint.py", "tests/test_config.py"]
    chosen = "normface or has or layers or nothing or fingerprint"
    for files in (["tests/losses/test_normface.py"], [*every, "-k", chosen]):
        done = here(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
        assert done.returncode == 0, done.stdout


def test_it_is_written_in_the_house_style(here):
    for how in (["check"], ["format", "--check"]):
        done = here(sys.executable, "-m", "ruff", *how, *[name for name in FILES if name.endswith(".py")])
        assert done.returncode == 0, done.stdout


def test_its_label_and_colour_reach_tables_and_figures(here):
    done = here(sys.executable, "-c", "from fglib.pages.labels import *; print(label('normface'), colour('normface'))")
    assert done.stdout.split() == ["NormFace", "#0072B2"], done.stderr


def test_a_missing_piece_is_named(here, copy):
    wrong = (copy / "book/experiments/normface.yml").read_text().replace("name: normface", "name: normfase")
    (copy / "wrong.yml").write_text(wrong)
    done = here(sys.executable, "-m", "fglib", "train", "wrong.yml", "--preset", "smoke", "--variants", "normface")
    assert done.returncode == 2 and "unknown method 'normfase'; did you mean 'normface'?" in done.stderr
