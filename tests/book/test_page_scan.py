"""The scan of rendered pages finds what a browser would load, and only that."""

import pytest
from page_scan import images_without_alt, remote_resources

FAR = "https://far.example/x"


@pytest.fixture
def page(tmp_path):
    def write(html: str, name: str = "index.html"):
        (tmp_path / name).write_text(html)
        return tmp_path

    return write


@pytest.mark.parametrize(
    "html",
    [
        f'<script src="{FAR}.js"></script>',
        '<script src="//far.example/x.js"></script>',
        f'<link rel="stylesheet" href="{FAR}.css">',
        f'<link rel="icon" href="{FAR}.ico">',
        f'<link rel="preconnect" href="{FAR}">',
        f'<img alt="a" src="{FAR}.png">',
        f'<img alt="a" src="near.png" srcset="near.png 1x, {FAR}.png 2x">',
        f'<iframe src="{FAR}"></iframe>',
        f'<svg><image href="{FAR}.png"/></svg>',
        f'<p style="background: url({FAR}.png)">',
        f"<style>@import '{FAR}.css';</style>",
        f'<style>@font-face {{ src: url("{FAR}.woff") }}</style>',
        f'<script type="module">import x from "{FAR}.js"</script>',
        f'<script>const s = document.createElement("script"); s.src = "{FAR}.js"</script>',
        f'<script>fetch("{FAR}.json")</script>',
    ],
)
def test_finds_what_a_browser_loads(page, html):
    (line,) = remote_resources(page(html))
    assert line.startswith("index.html: ")
    assert "far.example/x" in line


@pytest.mark.parametrize(
    "html",
    [
        f'<a href="{FAR}">a link</a>',
        f'<link rel="canonical" href="{FAR}">',
        '<script src="../_static/mathjax/tex-chtml.js?v=1"></script>',
        '<svg xmlns="http://www.w3.org/2000/svg"><use href="#a"/></svg>',
        f"<p>url({FAR})</p>",
        f"<!-- <img src='{FAR}.png'> -->",
        f"<style>/* url({FAR}.png) */</style>",
        '<img alt="a" src="data:image/png;base64,AAAA">',
    ],
)
def test_leaves_links_and_local_files_alone(page, html):
    assert remote_resources(page(html)) == []


def test_reads_style_sheets_of_all_folders(page, tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "a.css").write_text(f'@import url("{FAR}.css");')
    assert remote_resources(page("<p>")) == [f"_static/a.css: {FAR}.css"]


def test_names_images_without_alternative_text(page):
    root = page('<img src="a.png"><img src="b.png" alt=""><img src="c.png" alt="c">')
    assert images_without_alt(root) == ["index.html: a.png", "index.html: b.png"]
