"""The book as readers get it: built with warnings as errors, offline, every picture described, no error on a page."""

import os
import re
import sys
from pathlib import Path

import nbformat
import nbformat.v4 as nb
import pytest
import yaml
from page_scan import images_without_alt, pages, remote_resources
from processes import run

from fglib.lab.places import root
from fglib.pages.build import render_command


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The pages as `fglib book` renders them; outputs that an earlier build kept for this very state are used."""
    folder = tmp_path_factory.mktemp("book")
    env = os.environ | {"FGLIB_CHECKPOINTS": str(folder / "checkpoints")}
    # no variable of this process may decide what the pages show
    env.pop("FGLIB_RESULTS", None)
    build = "import sys, pathlib, fglib.pages.build; fglib.pages.build.build_book(pathlib.Path(sys.argv[1]))"
    done = run(sys.executable, "-c", build, str(folder), env=env)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder / "_build" / "html"


def listed():
    toc = yaml.safe_load((root() / "_toc.yml").read_text())
    return [toc["root"]] + [page["file"] for part in toc["parts"] for page in part["chapters"]]


def test_every_listed_page_is_there(html):
    assert [name for name in listed() if not (html / f"{name}.html").is_file()] == []


def test_no_page_loads_anything_from_the_network(html):
    assert remote_resources(html) == []


def test_every_picture_has_a_description(html):
    book = {name for name in pages(html) if name.startswith("book/")}
    assert len(book) >= len(listed())
    assert [line for line in images_without_alt(html) if line.startswith("book/")] == []


def test_no_page_shows_a_traceback_or_a_machine_path(html):
    for name in listed():
        text = (html / f"{name}.html").read_text()
        assert "Traceback (most recent call last)" not in text, name
        assert not re.search(rf"{re.escape(str(Path.home()))}/|{re.escape(str(root()))}/", text), name


def test_every_figure_of_a_chapter_has_a_caption(html):
    for name in listed():
        if not re.match(r"book/\d\d_", name):
            continue
        text = (html / f"{name}.html").read_text()
        figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
        assert figures, name
        assert all("<figcaption>" in f for f in figures), name


def test_a_page_whose_cell_fails_never_builds(tmp_path):
    """Not even by jupyter-book's own command, without executing the notebooks first."""
    config = yaml.safe_load((root() / "_config.yml").read_text())
    formats = {"nb_custom_formats": config["sphinx"]["config"]["nb_custom_formats"]}
    small = {"title": "A page", "execute": config["execute"], "sphinx": {"config": formats}}
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(small))
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    page = nb.new_notebook(cells=[nb.new_markdown_cell("# A page"), nb.new_code_cell("print(1 / 0)")])
    page.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (tmp_path / "page.ipynb").write_text(nbformat.writes(page))
    done = run(*render_command(tmp_path, tmp_path))
    assert done.returncode != 0
    assert "division by zero" in done.stdout + done.stderr
