"""The book's sources, checked without building it."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import papermill
import pytest
import yaml
from page_scan import css_loads

from fglib.pages.chapter import KNOWN, assigned, check_parameters
from fglib.pages.executed import executed

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
LISTED = [TOC["root"]] + [page["file"] for part in TOC["parts"] for page in part["chapters"]]
CHAPTERS = [name for name in LISTED if re.match(r"book/\d\d_", name)]
NOTEBOOKS = sorted(BOOK.glob("*.ipynb"))
PAGES = sorted([*BOOK.glob("*.md"), *NOTEBOOKS])

FENCE = re.compile(r"^(`{3,}|:{3,}|~{3,})(.*)$")
IMAGE = re.compile(r"!\[([^\]]*)\]\(")
CITED = re.compile(r"\{cite(?::[a-z]+)?\}`([^`]+)`")


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text())["cells"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def prose(path: Path) -> str:
    """The Markdown of a page: of a notebook, its Markdown cells."""
    if path.suffix == ".md":
        return path.read_text()
    return "\n\n".join(source(cell) for cell in cells(path) if cell["cell_type"] == "markdown")


def blocks(text: str) -> list[tuple[str, str]]:
    """Fenced blocks of Markdown, as (what stands behind the fence, what stands inside); the outermost ones."""
    out, fence, head, body = [], None, "", []
    for line in text.splitlines():
        if fence is None and (match := FENCE.match(line)):
            fence, head, body = match[1], match[2].strip(), []
        elif fence is not None and line.strip() == fence:
            out.append((head, "\n".join(body)))
            fence = None
        elif fence is not None:
            body.append(line)
    assert fence is None, f"a block opened with {fence}{head} is never closed"
    return out


def outside_blocks(text: str) -> str:
    for _, body in blocks(text):
        text = text.replace(body, "") if body else text
    return re.sub(r"`[^`\n]*`", "", text)


@pytest.mark.parametrize("name", LISTED)
def test_listed_page_exists(name):
    assert any((ROOT / f"{name}{ending}").is_file() for ending in (".md", ".ipynb")), f"_toc.yml lists {name}"


def test_every_page_of_the_book_is_listed():
    assert {f"book/{path.stem}" for path in PAGES} == set(LISTED)


def test_chapters_stand_in_the_order_of_their_numbers():
    assert sorted(CHAPTERS) == CHAPTERS
    assert len(CHAPTERS) >= 6


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_source_only(path):
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert (notebook["nbformat"], notebook["nbformat_minor"]) >= (4, 5), "cell ids need notebook format 4.5"
    assert "widgets" not in notebook["metadata"]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], f"cell {cell['id']} has outputs"
            assert cell["execution_count"] is None, f"cell {cell['id']} has an execution count"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_cell_ids_are_unique_words(path):
    ids = [cell["id"] for cell in cells(path)]
    assert len(set(ids)) == len(ids)
    for name in ids:
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name), f"'{name}' is not words joined by hyphens"
        assert not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]+)*", name), f"'{name}' is a random id: name the cell"


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_has_one_parameters_cell_that_papermill_understands(name):
    path = ROOT / f"{name}.ipynb"
    tagged = [c for c in cells(path) if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    assert tagged[0]["cell_type"] == "code"
    # papermill warns of a parameter that it does not find here; it cannot read `list[int] | None`
    found = papermill.inspect_notebook(str(path))
    assert tuple(found) == tuple(assigned(source(tagged[0]))) == KNOWN
    # the quickstart trains, since its data is in the box; all else shows what is recorded
    default = "cpu" if name.endswith("00_quickstart") else "recorded"
    assert found["preset"]["default"] == f'"{default}"'
    check_parameters({parameter: eval(found[parameter]["default"]) for parameter in KNOWN})


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda p: p.name)
def test_images_have_alternative_text(path):
    text = prose(path)
    for alt in IMAGE.findall(outside_blocks(text)):
        assert alt.strip(), f"an image in {path.name} has no alternative text"
    for tag in re.findall(r"<img\b[^>]*>", outside_blocks(text)):
        assert re.search(r"\balt=\"[^\"]+\"", tag), tag
    for head, body in blocks(text):
        if head.startswith(("{figure}", "{image}", "{glue:figure}")):
            assert re.search(r"^:alt: \S", body, re.MULTILINE), f"{head} has no :alt:"
        if head.startswith(("{figure}", "{glue:figure}")):
            assert re.search(r"^:name: fig-\S", body, re.MULTILINE), f"{head} has no label fig-..."
            caption = [line for line in body.splitlines() if line.strip() and not line.startswith(":")]
            assert caption, f"{head} has no caption"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_figures_of_code_have_caption_label_and_alternative_text(path):
    for cell in cells(path):
        rendering = cell["metadata"].get("mystnb", {})
        if "figure" in rendering or "image" in rendering:
            assert rendering.get("figure", {}).get("caption", "").strip(), f"cell {cell['id']} lacks a caption"
            assert rendering["figure"].get("name", "").startswith("fig-"), f"cell {cell['id']} lacks a label fig-..."
            assert rendering.get("image", {}).get("alt", "").strip(), f"cell {cell['id']} lacks alternative text"


def test_labels_are_unique():
    names = []
    for path in PAGES:
        names += re.findall(r"^:name: (\S+)", prose(path), re.MULTILINE)
        names += re.findall(r"^\(([\w-]+)\)=$", prose(path), re.MULTILINE)
        if path.suffix == ".ipynb":
            figures = [cell["metadata"].get("mystnb", {}).get("figure", {}) for cell in cells(path)]
            names += [figure["name"] for figure in figures if "name" in figure]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_citations_are_in_the_bibliography(path):
    known = re.findall(r"^@\w+\{([^,]+),", (BOOK / "references.bib").read_text(), re.MULTILINE)
    assert len(set(known)) == len(known)
    cited = {key.strip() for keys in CITED.findall(prose(path)) for key in keys.split(",")}
    assert cited <= set(known)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_linked_pages_and_images_exist(path):
    targets = re.findall(r"\]\(([^)#\s]+)", outside_blocks(prose(path)))
    targets += [head.split()[1] for head, _ in blocks(prose(path)) if head.startswith(("{figure}", "{image}"))]
    for target in targets:
        assert re.match(r"[a-z]+:", target) or (path.parent / target).is_file(), f"{path.name} points to {target}"


def test_configuration_loads_nothing_from_the_network():
    config = (ROOT / "_config.yml").read_text()
    assert "//" not in config
    options = yaml.safe_load(config)
    assert options["sphinx"]["config"]["mathjax_path"] == "mathjax/tex-chtml.js"
    assert options["repository"]["url"] == ""
    assert "launch_buttons" not in options


def test_builds_take_the_outputs_of_executing_the_notebooks():
    options = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert options["only_build_toc_files"] is True
    assert options["execute"] == {"execute_notebooks": "off"}
    assert options["sphinx"]["config"]["nb_custom_formats"] == {".ipynb": f"{executed.__module__}.executed"}
    assert options["sphinx"]["config"]["nb_merge_streams"] is True


@pytest.mark.parametrize("path", sorted((ROOT / "_static").rglob("*.css")), ids=lambda p: p.name)
def test_style_sheet_loads_nothing_from_the_network(path):
    assert css_loads(path.read_text()) == []


def test_mathjax_lies_beside_its_licence_and_is_complete():
    vendor = BOOK / "_vendor" / "mathjax"
    assert "Apache License" in (vendor / "LICENSE").read_text()
    component = (vendor / "tex-chtml.js").read_text()
    fonts = set(re.findall(r"%%URL%%/(MathJax_[\w-]+\.woff)", component))
    assert fonts
    assert fonts == {p.name for p in vendor.rglob("*.woff")}
    (table,) = re.findall(r"autoload:\(0,\w+\.expandable\)\((\{.*?\})\)\}", component)
    wanted = set(re.findall(r"(\w+):\[", table))
    # these come inside the component
    assert wanted - {p.stem for p in (vendor / "input/tex/extensions").glob("*.js")} <= {"newcommand"}


@pytest.mark.parametrize("path", sorted((BOOK / "images").glob("*.svg")), ids=lambda p: p.name)
def test_drawing_says_what_it_shows_and_stands_alone(path):
    drawing = ElementTree.parse(path).getroot()
    svg = "{http://www.w3.org/2000/svg}"
    assert drawing.get("role") == "img"
    assert drawing.get("aria-labelledby").split() == [
        drawing.find(f"{svg}{tag}").get("id") for tag in ("title", "desc")
    ]
    assert all(drawing.find(f"{svg}{tag}").text.strip() for tag in ("title", "desc"))
    assert set(re.findall(r"\w+://[^\"]*", path.read_text())) == {"http://www.w3.org/2000/svg"}


def test_the_example_catalogue_of_the_instructions_is_a_valid_experiment(tmp_path):
    from fglib.lab.grid import load_experiment

    written = (body for head, body in blocks((BOOK / "how-to-run.md").read_text()) if head == "yaml")
    (example,) = (body for body in written if body.startswith("title:"))
    path = tmp_path / "catalogue.yml"
    path.write_text(example)
    run = load_experiment(path).resolve("base_indi_eff", "cpu")
    assert run.data.options["levels"] == [run.data.coarse, run.data.fine]


def test_readme_has_a_place_for_the_results():
    readme = (ROOT / "README.md").read_text()
    assert readme.count("<!-- results:begin -->") == readme.count("<!-- results:end -->") == 1
    assert readme.index("<!-- results:begin -->") < readme.index("<!-- results:end -->")
