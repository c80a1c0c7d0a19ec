"""HTML of the pages: the templates of `fglib/pages/templates`, filled in with every value escaped.

Style and script of a template are files of `_static`, which every page of the book loads. JupyterLab loads none of
them, so in a kernel of Jupyter the output brings them along.
"""

import json
import os
import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fglib.lab.places import find_root


def render(template: str, **values) -> str:
    """The template of that name, filled in."""
    html = TEMPLATES.get_template(f"{template}.html.j2").render(values)
    root = find_root()
    if root and "JPY_SESSION_NAME" in os.environ:  # set by Jupyter's server, not where the book is built
        for tag, ending in (("style", "css"), ("script", "js")):
            if (path := root / "_static" / f"{template}.{ending}").is_file():
                html += f"<{tag}>{path.read_text(encoding='utf-8')}</{tag}>"
    return html


def prose(text: str) -> Markup:
    """Text with `code` marked up; each word of code is a span, so that style can keep a hyphen from breaking it."""

    def code(match: re.Match) -> str:
        return f"<code>{' '.join(f'<span>{word}</span>' for word in match[1].split())}</code>"

    return Markup(re.sub(r"`([^`]+)`", code, str(escape(text))))


TEMPLATES = Environment(
    loader=PackageLoader("fglib.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {"prose": prose, "json": json.dumps}
