"""Templates of the pages: what they escape, and what an output brings along where no page loads `_static`."""

import json
import re

import pytest
from jinja2 import UndefinedError

from fglib.lab.places import book, root
from fglib.pages.html import prose, render


def test_prose_marks_up_code_and_escapes_all_else():
    assert prose("run `fglib train x` & <b>") == (
        "run <code><span>fglib</span> <span>train</span> <span>x</span></code> &amp; &lt;b&gt;"
    )


def test_a_template_lacks_nothing_silently():
    with pytest.raises(UndefinedError, match="'verdicts' is undefined"):
        render("verdicts")


def test_style_and_script_come_along_in_jupyter_only(monkeypatch):
    values = {"name": "spot", "controls": [], "picture": "", "reading": "", "data": {}}
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    page = render("sliders", **values)
    assert "<script" not in page and "<style" not in page
    monkeypatch.setenv("JPY_SESSION_NAME", "10_synthetic_patches.ipynb")
    style, script = ((root() / f"_static/sliders.{ending}").read_text() for ending in ("css", "js"))
    assert render("sliders", **values) == f"{page}<style>{style}</style><script>{script}</script>"


def test_every_use_of_sliders_has_a_function_in_the_script():
    used = [
        name
        for notebook in sorted(book().glob("*.ipynb"))
        for cell in json.loads(notebook.read_text())["cells"]
        for name in re.findall(r'report\.sliders\(\s*"(\w+)"', "".join(cell["source"]))
    ]
    written = re.findall(r"^    (\w+)\(\[.*\{$", (root() / "_static/sliders.js").read_text(), re.MULTILINE)
    assert sorted(used) == sorted(written) and len(used) > 3


@pytest.mark.parametrize("notebook", sorted(book().glob("*.ipynb")), ids=lambda p: p.stem)
def test_no_notebook_holds_a_script(notebook):
    assert not re.search(r"<script|<style|addEventListener", notebook.read_text())
