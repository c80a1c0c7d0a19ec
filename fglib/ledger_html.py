"""The claims ledger as one piece of HTML: counts, filters and a table per paper.

It stands on its own: style and script are inside, nothing is fetched, the filters need no kernel, and without
JavaScript the tables are simply all there. Verdicts carry a mark and their text, so that colour is never alone.
"""

import json
import re
from html import escape

from fglib.claims import PAPERS, VERDICTS, Verdict
from fglib.rules import Measured

MARKS = dict(zip(VERDICTS, "✓↗✗○"))
SHORT = {"patterns": "Patterns", "grafit": "Grafit", "coarse2fine": "Coarse2Fine", "subtle": "Subtle"}

# Colours are those of Okabe and Ito and tint a bar only: text keeps the colour of the page, light or dark.
# The selectors start with div so that they weigh as much as the theme's own for tables in outputs.
STYLE = """
div.ledger { container-type: inline-size; text-align: left; }
div.ledger table { width: 100%; border-collapse: collapse; margin: 0 0 1.5rem; font-size: 0.85em; }
div.ledger :is(th, td) { text-align: left; vertical-align: top; padding: 0.5rem; border-bottom: 1px solid #8886;
  background: none; overflow-wrap: break-word; white-space: normal; font-weight: normal; color: inherit; }
div.ledger thead th { font-weight: bold; }
div.ledger .counts { width: auto; table-layout: auto; }
div.ledger .counts :is(td, thead th + th) { text-align: right; }
div.ledger .claims table { table-layout: fixed; }
div.ledger .claims thead th:nth-child(1) { width: 28%; }
div.ledger .claims thead th:nth-child(2) { width: 8.5rem; }
div.ledger .claims thead th:nth-child(4) { width: 28%; }
div.ledger .where { display: block; font-weight: bold; }
div.ledger code { font-size: 0.9em; white-space: normal; overflow-wrap: break-word; }
div.ledger code span { white-space: nowrap; }
div.ledger ul { list-style: none; margin: 0; padding: 0; }
div.ledger li { margin: 0 0 0.3em; padding-left: 1.2em; text-indent: -1.2em; }
div.ledger .verdict { border-left: 0.35em solid #888; padding-left: 0.4em; }
div.ledger [data-verdict="reproduced"] .verdict { border-color: #009e73; }
div.ledger [data-verdict="holds in direction"] .verdict { border-color: #56b4e9; }
div.ledger [data-verdict="does not hold"] .verdict { border-color: #d55e00; }
div.ledger form { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; align-items: center; margin: 1rem 0; }
div.ledger [hidden] { display: none; }
div.ledger fieldset { border: 0; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; }
div.ledger legend { float: left; width: auto; margin: 0 1rem 0 0; font-size: 1em; font-weight: bold; }
@container (max-width: 40rem) {
  div.ledger .counts { font-size: 0.75em; }
  div.ledger .counts :is(th, td) { padding: 0.4rem 0.2rem; }
  div.ledger .claims thead { display: none; }
  div.ledger .claims :is(table, tbody, tr, th, td) { display: block; width: 100%; }
  div.ledger .claims tr { border-bottom: 2px solid #888; padding: 0.5rem 0; }
  div.ledger .claims :is(th, td) { border: 0; padding: 0.25rem 0; }
  div.ledger .claims td::before { content: attr(data-label); display: block; font-weight: bold; }
  div.ledger [hidden] { display: none !important; }
}
"""

SCRIPT = """
(() => {
  const ledger = document.currentScript.closest(".ledger");
  const form = ledger.querySelector("form");
  const update = () => {
    const verdicts = [...form.querySelectorAll("input:checked")].map((box) => box.value);
    const paper = form.querySelector("select").value;
    let shown = 0;
    for (const section of ledger.querySelectorAll("section")) {
      let here = 0;
      for (const row of section.querySelectorAll("tr[data-verdict]")) {
        row.hidden = !verdicts.includes(row.dataset.verdict) || (paper !== "" && section.dataset.paper !== paper);
        here += !row.hidden;
      }
      section.hidden = here === 0;
      shown += here;
    }
    const all = ledger.querySelectorAll("tr[data-verdict]").length;
    form.querySelector("output").value = `${shown} of ${all} claims shown`;
  };
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
})();
"""


def ledger_page(verdicts: list[Verdict]) -> str:
    """The whole ledger: counts, filters, and the claims of each paper."""
    papers = {paper: [v for v in verdicts if v.paper == paper] for paper in PAPERS}
    papers = {paper: found for paper, found in papers.items() if found}
    sections = "".join(_section(paper, found) for paper, found in papers.items())
    return (
        f'<div class="ledger"><style>{STYLE}</style>{_counts(papers)}{_filters(papers)}{sections}'
        f"<script>{SCRIPT}</script></div>"
    )


def _counts(papers: dict[str, list[Verdict]]) -> str:
    """How many claims of each paper have which verdict."""
    links = "".join(f'<th scope="col"><a href="#ledger-{p}">{SHORT[p]}</a></th>' for p in papers)
    columns = [*papers.values(), [v for found in papers.values() for v in found]]
    rows = "".join(
        f'<tr><th scope="row">{MARKS[name]} {name}</th>'
        + "".join(f"<td>{sum(v.verdict == name for v in found)}</td>" for found in columns)
        + "</tr>"
        for name in VERDICTS
    )
    totals = "".join(f"<td>{len(found)}</td>" for found in columns)
    return (
        f'<table class="counts"><thead><tr><th scope="col">Verdict</th>{links}<th scope="col">All</th></tr></thead>'
        f'<tbody>{rows}<tr><th scope="row">claims</th>{totals}</tr></tbody></table>'
    )


def _filters(papers: dict[str, list[Verdict]]) -> str:
    """Controls that hide rows; hidden themselves until the script that serves them runs."""
    boxes = "".join(
        f'<label><input type="checkbox" value="{name}" checked autocomplete="off"> {MARKS[name]} {name}</label>'
        for name in VERDICTS
    )
    options = "".join(f'<option value="{paper}">{SHORT[paper]}</option>' for paper in papers)
    return (
        f"<form hidden><fieldset><legend>Show</legend>{boxes}</fieldset>"
        f'<label>of <select autocomplete="off"><option value="">all papers</option>{options}</select></label>'
        "<output></output></form>"
    )


def _section(paper: str, verdicts: list[Verdict]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Claim", "Verdict", "Measured", "Evidence"))
    return (
        f'<section data-paper="{paper}"><h2 id="ledger-{paper}">{escape(PAPERS[paper])}</h2>'
        f'<div class="claims"><table><thead><tr>{head}</tr></thead><tbody>{"".join(map(_row, verdicts))}</tbody>'
        "</table></div></section>"
    )


def _row(v: Verdict) -> str:
    measured = "".join(map(_clause, v.measured))
    return (
        f'<tr id="{escape(v.id)}" data-verdict="{v.verdict}"><th scope="row">'
        f'<span class="where">{escape(v.where)}</span>{escape(v.says)}{_figures(v)}</th>'
        f'<td data-label="Verdict"><span class="verdict">{MARKS[v.verdict]} {v.verdict}</span></td>'
        f'<td data-label="Measured">{f"<ul>{measured}</ul>" if measured else "nothing yet"}</td>'
        f'<td data-label="Evidence">{_evidence(v)}</td></tr>'
    )


def _clause(m: Measured) -> str:
    undecided = ", undecided" if m.undecided else ""
    return (
        f"<li>{'✓' if m.holds else '✗'} <code>{escape(m.quantity)}</code> "
        f"<strong>{escape(m.value)}</strong>, needs {escape(m.needs)}{undecided}</li>"
    )


def _evidence(v: Verdict) -> str:
    """What the verdict rests on and the command behind it; for a claim that is not run, what would run it."""
    if v.evidence is None:
        return _prose(v.reason)
    lines = [str(v.evidence), v.evidence.note, f"`{v.command}`", *v.remarks]
    link = f'<br><a href="{escape(v.evidence.chapter)}.html">chapter</a>' if v.evidence.chapter else ""
    return "<br>".join(_prose(line) for line in lines if line) + link


def _figures(v: Verdict) -> str:
    """The paper's own figures, folded away."""
    if not v.paper_values:
        return ""
    items = "".join(
        f"<li>{escape(str(name))}: {escape(json.dumps(value).replace(chr(34), ''))}</li>"
        for name, value in v.paper_values.items()
    )
    return f"<details><summary>Figures in the paper</summary>{escape(v.metric)}<ul>{items}</ul></details>"


def _prose(text: str) -> str:
    """Escaped text with `code` marked up; a line of code breaks between words only, not at a hyphen."""

    def code(match: re.Match) -> str:
        return f"<code>{' '.join(f'<span>{word}</span>' for word in match[1].split())}</code>"

    return re.sub(r"`([^`]+)`", code, escape(text))
