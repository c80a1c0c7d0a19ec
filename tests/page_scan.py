"""What rendered pages load, found by reading their HTML and CSS: `remote_resources`, `images_without_alt`.

Ordinary links (`<a href>`) may lead anywhere; scripts, style sheets, images, fonts and frames may not.
"""

import re
from html.parser import HTMLParser
from pathlib import Path

# attributes that a browser fetches as soon as it shows the element
LOADING = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "input": ("src",),
    "body": ("background",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
    "feimage": ("href", "xlink:href"),
}
# of a <link>, these only point somewhere; every other rel is fetched or opens a connection
LINKS_THAT_ONLY_POINT = {
    "alternate", "author", "bookmark", "canonical", "help", "index", "license", "next", "prev", "search",
}  # fmt: skip
REMOTE = re.compile(r"^\s*(?:(?:https?|wss?|ftp):)?//", re.IGNORECASE)
CSS_LOAD = re.compile(r"""(?:url\(\s*|@import\s+)["']?\s*((?:https?:)?//[^"')\s;]+)""", re.IGNORECASE)
CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
# static and dynamic imports of modules, workers, and elements or requests made by an inline script
SCRIPT_LOAD = re.compile(
    r"""(?:\bfrom\s*|\bimport\s*\(?\s*|importScripts\(\s*|fetch\(\s*|Worker\(\s*|\.src\s*=\s*|require\(\s*\[?\s*)"""
    r"""["'`]((?:https?:)?//[^"'`]+)""",
    re.IGNORECASE,
)


def css_loads(text: str) -> list[str]:
    """Remote addresses that a style sheet or style attribute loads."""
    return CSS_LOAD.findall(CSS_COMMENT.sub("", text))


class Page(HTMLParser):
    """Collects `remote` (element, address) and `no_alt` (image sources) of one page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.remote: list[tuple[str, str]] = []
        self.no_alt: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self._inside = tag
        names = LOADING.get(tag, ())
        if tag == "link" and not set(values.get("rel", "").lower().split()) & LINKS_THAT_ONLY_POINT:
            names = ("href",)
        for name in names:
            parts = values.get(name, "").split(",") if name == "srcset" else [values.get(name, "")]
            self.remote += [(tag, part.strip()) for part in parts if REMOTE.match(part)]
        self.remote += [(f"{tag} style", address) for address in css_loads(values.get("style", ""))]
        if tag == "img" and not values.get("alt", "").strip() and values.get("role") != "presentation":
            self.no_alt.append(values.get("src", ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.remote += [("style", address) for address in css_loads(data)]
        elif self._inside == "script":
            self.remote += [("inline script", address) for address in SCRIPT_LOAD.findall(data)]


def pages(html: Path) -> dict[str, Page]:
    """All pages below a folder such as `_build/html`, by their path in it."""
    return {str(p.relative_to(html)): Page(p.read_text(encoding="utf-8")) for p in sorted(html.rglob("*.html"))}


def remote_resources(html: Path) -> list[str]:
    """What the pages below `html` and their style sheets load over the network, one line each; empty if nothing."""
    found = [f"{name}: <{tag}> {url}" for name, page in pages(html).items() for tag, url in page.remote]
    for path in sorted(html.rglob("*.css")):
        found += [f"{path.relative_to(html)}: {url}" for url in css_loads(path.read_text(encoding="utf-8"))]
    return found


def images_without_alt(html: Path) -> list[str]:
    """Images that a screen reader cannot name, as `page: source`; drawn as role=presentation they are decoration."""
    return [f"{name}: {src}" for name, page in pages(html).items() for src in page.no_alt]
