"""The book as readers get it: built with warnings as errors, offline, every picture described, no error on a page."""

import os
import re
import sys
from pathlib import Path

import pytest
import yaml
from page_scan import images_without_alt, pages, remote_resources
from processes import run

from fglib import lab
from fglib.lab.places import root
from fglib.pages.notebooks import book_command


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The rendered pages. The quickstart trains first, as in `fglib book`."""
    folder = tmp_path_factory.mktemp("book")
    env = os.environ | {"FGLIB_CHECKPOINTS": str(folder / "checkpoints")}
    # no variable of this process may decide what the pages show
    env.pop("FGLIB_RESULTS", None)
    if any(not plan.recorded for plan in lab.plans("digits", "cpu")):
        trained = run(sys.executable, "-m", "fglib", "train", "digits", "--preset", "cpu", env=env)
        assert trained.returncode == 0, trained.stderr[-4000:]
    done = run(*book_command(), "--path-output", str(folder), env=env)
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
