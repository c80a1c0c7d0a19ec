"""What is installed, where it is declared, and what importing the package pulls in."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, Version]:
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line]
    assert all(len(pair) == 2 for pair in pairs), "constraints.txt holds exact versions only"
    assert len({name for name, _ in pairs}) == len(pairs), "constraints.txt names a package twice"
    return {name: Version(version) for name, version in pairs}


def direct() -> list[Requirement]:
    return [Requirement(text) for text in PROJECT["dependencies"] + sum(EXTRAS.values(), [])]


def test_conda_environment_repeats_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    (pip,) = (item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert [line for line in pip if not line.startswith("-")] == (
        PROJECT["dependencies"] + EXTRAS["book"] + EXTRAS["dev"]
    )
    assert [line for line in pip if line.startswith("-")] == ["--constraint constraints.txt", "--editable ."]
    (python,) = (item.removeprefix("python=") for item in conda if item.startswith("python="))
    assert Version(python) in Requirement(f"python{PROJECT['requires-python']}").specifier


@pytest.mark.parametrize("requirement", direct(), ids=lambda r: r.name)
def test_direct_dependency_is_pinned_within_its_range(requirement):
    version = pins().get(canonical(requirement.name))
    assert version is not None, f"{requirement.name} is not in constraints.txt"
    assert requirement.specifier.contains(version)


@pytest.mark.parametrize("name", ["torch", "torchvision"])
def test_torch_is_pinned_the_same_everywhere(name):
    (requirement,) = (r for r in direct() if r.name == name)
    assert str(requirement.specifier) == f"=={pins()[name]}"


def test_constraints_name_versions_and_no_addresses():
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert " @ " not in text
    assert pins().keys() == {canonical(name) for name in pins()}


def test_every_folder_with_modules_is_a_package_and_is_shipped():
    find = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    shipped = set(find_packages(str(ROOT), include=find["include"]))
    assert {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "fglib").rglob("*.py")} == shipped


def test_one_version_everywhere():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == PROJECT["version"]
    assert re.search(rf"^## {re.escape(PROJECT['version'])}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("checkpoints/omniglot/base.cpu.s0.0123456789.safetensors", True),
        ("book/results/omniglot/base.smoke.s0.0123456789/run.json", True),
        ("book/results/digits/base.cpu.s0.0123456789/run.json", True),
        ("_build/html/index.html", True),
        (".venv/bin/python", True),
        ("fglib/__pycache__/cli.pyc", True),
        ("book/results/omniglot/base.cpu.s0.0123456789/run.json", False),
        ("book/results/omniglot/base.cpu.s0.0123456789/arrays.npz", False),
        ("book/_vendor/mathjax/tex-chtml.js", False),
        ("fglib/checkpoint.py", False),
    ],
)
def test_weights_and_builds_stay_out_of_git_and_records_go_in(tmp_path, path, ignored):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    command = ["git", "-C", tmp_path, "-c", "core.excludesFile=/dev/null", "check-ignore", "-q", path]
    assert subprocess.run(command).returncode == (0 if ignored else 1)


def imported_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after a statement."""
    code = f"import sys; {statement}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_command_line_starts_without_torch():
    assert not imported_by("import fglib.cli") & {"torch", "torchvision", "sklearn", "matplotlib"}


def test_training_needs_no_notebook_package():
    notebook_packages = {"papermill", "nbformat", "jupyter_book", "captum", "pandas", "seaborn", "IPython"}
    assert not imported_by("import fglib.train") & notebook_packages


def test_reading_records_takes_torch_and_no_more_of_its_kind():
    """torchvision would take as long again, of which most goes into the compiler's part of torch."""
    slow = {"torchvision", "sympy", "sklearn", "captum", "seaborn"}
    assert not imported_by("import fglib.lab.run, fglib.pages.report, fglib.pages.plots, fglib.pages.claims") & slow


@pytest.fixture
def makefile_copy(tmp_path) -> Path:
    """The Makefile and what its stamp depends on, alone in a folder."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@needs_make
@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("book", ".venv/bin/fglib book"),
        ("test", "OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n logical --dist loadfile --no-loadscope-reorder"),
        ("lint", ".venv/bin/ruff check .\n.venv/bin/ruff format --check ."),
    ],
)
def test_targets_skip_the_set_up_when_it_is_done(makefile_copy, target, command):
    stamp = makefile_copy / ".venv" / ".stamp"
    stamp.parent.mkdir()
    stamp.touch()
    done = subprocess.run(["make", "-n", target], cwd=makefile_copy, capture_output=True, text=True, env=clean())
    assert done.stdout.strip() == command


@needs_make
@pytest.mark.parametrize("target", ["book", "test", "lint", "smoke", "bench"])
def test_targets_set_up_first(makefile_copy, target):
    done = subprocess.run(["make", "-n", target], cwd=makefile_copy, capture_output=True, text=True, env=clean())
    assert f"torch=={pins()['torch']} torchvision=={pins()['torchvision']}" in done.stdout
    assert done.stdout.index("torchvision==") < done.stdout.index("--editable '.[book,dev]'")


@needs_make
def test_without_a_recent_python_make_says_what_to_install(makefile_copy):
    tools = makefile_copy / "bin"
    tools.mkdir()
    for tool in ("sh", "grep"):
        (tools / tool).symlink_to(shutil.which(tool))
    make = shutil.which("make")
    done = subprocess.run([make, "test"], cwd=makefile_copy, capture_output=True, text=True, env=clean(PATH=str(tools)))
    assert done.returncode != 0
    assert "no Python 3.11 or newer" in done.stderr
    assert not (makefile_copy / ".venv").exists()


def clean(**changes: str) -> dict[str, str]:
    """The environment without what an outer `make test` hands to the makes it calls."""
    outer = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    return outer | changes
