"""The package without its checkout: a wheel, installed into a fresh environment elsewhere, trains digits."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """elsewhere(*arguments) runs `python` of an environment that has the wheel, in a folder with digits.yml alone."""
    base = tmp_path_factory.mktemp("elsewhere")
    source = base / "source"
    source.mkdir()
    shutil.copytree(ROOT / "fglib", source / "fglib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    shutil.rmtree(source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", base / "venv"], check=True)
    (python,) = base.glob("venv/bin/python") or base.glob("venv/Scripts/python.exe")
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    packages = Path(where.stdout.strip())
    (wheel,) = base.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(packages)
    # the other packages are those of the tests' own environment; its link to the checkout is not followed
    (packages / "others.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    work = base / "work"
    work.mkdir()
    shutil.copy(ROOT / "book/experiments/digits.yml", work)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FGLIB_", "PYTHON"))}

    def run(*arguments, **more):
        return subprocess.run(
            [python, *arguments], cwd=work, env=env | more, capture_output=True, text=True, encoding="utf-8"
        )

    return run


def test_the_library_trains_digits(elsewhere):
    script = """
import fglib, torch
from fglib.config import RunConfig, build
from fglib.data.sources import load
from fglib.methods import Task, build_method
from fglib.retrieval import evaluate_retrieval
from fglib.inference import embed
from fglib.train import fit

data = load("digits")
model = {"backbone": "small_resnet", "width": 8, "blocks": [1]}
config = build(RunConfig, {
    "data": {"name": "digits", "coarse": "group", "fine": "digit"}, "method": {"name": "base_indi"}, "model": model,
    "train": {"epochs": 1, "batch_size": 50, "lr": 0.1},
}, "here")
method = build_method(config, Task.of(data.train.only("group"), "group", None))
progress, finished = fit(method, data.train.only("group"), config)
report = evaluate_retrieval(embed(method, data.test), data.test.labels("digit"))
print(fglib.__file__, finished, report.recall[1] > 0.1)
"""
    done = elsewhere("-c", script)
    assert done.returncode == 0, done.stderr
    place, finished, found = done.stdout.split()
    assert "site-packages" in place and str(ROOT) not in place and (finished, found) == ("True", "True")


def test_the_command_trains_an_experiment_and_records_beside_its_file(elsewhere):
    command = ("-m", "fglib", "train", "digits.yml", "--preset", "smoke", "--variants", "base", "--device", "cpu")
    done = elsewhere(*command)
    assert done.returncode == 0, done.stderr
    assert "recorded  base.smoke.s0" in done.stdout
    again = elsewhere("-c", "import pathlib; print(*pathlib.Path('results').rglob('run.json'))")
    assert again.stdout.startswith("results/digits/base.smoke.s0")


def test_what_needs_the_book_says_so_in_one_sentence(elsewhere):
    for command in (["claims"], ["train", "omniglot"], ["chapter", "11"]):
        done = elsewhere("-m", "fglib", *command)
        assert done.returncode == 2 and done.stderr.startswith("fglib: the book is not here: "), (command, done.stderr)
        assert done.stderr.count("\n") == 1 and "FGLIB_BOOK" in done.stderr
    done = elsewhere("-m", "fglib", "claims", "grafit", FGLIB_BOOK=str(ROOT))
    assert done.returncode == 0 and "grafit" in done.stdout
    done = elsewhere("-m", "fglib", "claims", FGLIB_BOOK="nowhere")
    assert done.returncode == 2 and "FGLIB_BOOK names" in done.stderr
    done = elsewhere("-m", "fglib", "doctor")
    assert done.returncode == 0 and "book: none" in done.stdout, done.stderr
