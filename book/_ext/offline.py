"""Sphinx extension: the rendered book loads nothing from the network.

MathJax is the copy under `book/_vendor`, and the package's source, to which pages link, is copied beside them. Thebe
(live kernels, which this book does not offer) is left out. A script or style sheet that any extension wants from
another host is a warning, so that a build with `-W` fails.
"""

import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

BOOK = Path(__file__).resolve().parent.parent
VENDOR = BOOK / "_vendor" / "mathjax"
logger = logging.getLogger(__name__)


def is_thebe(script) -> bool:
    """Whether a script (Sphinx's `_JavaScript`) belongs to thebe, which would be fetched from unpkg.com."""
    return "thebe" in str(script.filename or "") or "THEBE_JS_URL" in script.attributes.get("body", "")


def keep_local(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Drop thebe from the page's scripts; warn of every script or style sheet of another host."""
    context["script_files"] = [script for script in context["script_files"] if not is_thebe(script)]
    for asset in [*context["script_files"], *context["css_files"]]:
        name = str(getattr(asset, "filename", asset) or "")
        if "://" in name or name.startswith("//"):
            logger.warning("page %s would load %s from the network", pagename, name)


def copy_files(app: Sphinx, exception: Exception | None) -> None:
    """Put MathJax where `mathjax_path` finds it, and the package where the links of `report.source` lead."""
    if exception is None and app.builder.format == "html":
        out, sources = Path(app.outdir), BOOK.parent / "fglib"
        shutil.copytree(VENDOR, out / "_static" / "mathjax", dirs_exist_ok=True)
        shutil.copytree(sources, out / "fglib", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", keep_local, priority=900)
    app.connect("build-finished", copy_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
