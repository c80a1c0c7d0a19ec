"""Templates of the pages: what they escape, and what an output brings along where no page loads `_static`."""

import pytest
from jinja2 import UndefinedError

from fglib.html import prose, render
from fglib.paths import ROOT


def test_prose_marks_up_code_and_escapes_all_else():
    assert prose("run `fglib train x` & <b>") == (
        "run <code><span>fglib</span> <span>train</span> <span>x</span></code> &amp; &lt;b&gt;"
    )


def test_a_template_lacks_nothing_silently():
    with pytest.raises(UndefinedError, match="'verdicts' is undefined"):
        render("verdicts")


@pytest.mark.parametrize("template", ["ledger"])
def test_style_and_script_come_along_in_jupyter_only(monkeypatch, template):
    empty = {"papers": {}, "columns": [], "titles": {}, "short": {}, "marks": {}}
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    page = render(template, **empty)
    assert "<script" not in page and "<style" not in page
    monkeypatch.setenv("JPY_SESSION_NAME", "claims.ipynb")
    style, script = ((ROOT / "_static" / f"{template}.{ending}").read_text() for ending in ("css", "js"))
    assert render(template, **empty) == f"{page}<style>{style}</style><script>{script}</script>"
