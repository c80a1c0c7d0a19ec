"""The Sphinx extension that keeps pages off the network."""

import importlib.util
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

PATH = Path(__file__).resolve().parents[2] / "book" / "_ext" / "offline.py"


@pytest.fixture(scope="module")
def offline():
    spec = importlib.util.spec_from_file_location("offline", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(filename=None, body=None):
    return SimpleNamespace(filename=filename, attributes={"body": body} if body else {})


def test_drops_thebe_and_keeps_the_rest(offline, caplog):
    kept = [script("mathjax/tex-chtml.js"), script(body="window.MathJax = {}")]
    thebe = [script("sphinx-thebe.js"), script(body='const THEBE_JS_URL = "https://far.example/thebe.js"')]
    context = {"script_files": [*thebe, *kept], "css_files": [SimpleNamespace(filename="_static/book.css")]}
    offline.keep_local(None, "intro", "page.html", context, None)
    assert context["script_files"] == kept
    assert caplog.records == []


@pytest.mark.parametrize("kind", ["script_files", "css_files"])
@pytest.mark.parametrize("address", ["https://far.example/x", "//far.example/x"])
def test_warns_of_what_would_be_fetched(offline, caplog, kind, address):
    context = {"script_files": [], "css_files": []} | {kind: [script(address)]}
    with caplog.at_level(logging.WARNING):
        offline.keep_local(None, "intro", "page.html", context, None)
    (record,) = caplog.records
    assert record.getMessage() == f"page intro would load {address} from the network"


@pytest.mark.parametrize(
    ("builder", "error", "copied"), [("html", None, 1), ("latex", None, 0), ("html", OSError(), 0)]
)
def test_copies_mathjax_and_the_package_beside_finished_pages(offline, tmp_path, builder, error, copied):
    app = SimpleNamespace(builder=SimpleNamespace(format=builder), outdir=tmp_path)
    offline.copy_files(app, error)
    for file in ("_static/mathjax/tex-chtml.js", "fglib/losses/patterns.py"):
        assert len(list(tmp_path.glob(file))) == copied
    assert not list(tmp_path.glob("fglib/**/*.pyc"))
