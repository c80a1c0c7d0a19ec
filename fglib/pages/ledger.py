"""The claims ledger as HTML: counts, filters and a table per paper. Marks and words, so that colour is never alone."""

from fglib.pages.claims import PAPERS, Verdict
from fglib.pages.evidence import VERDICTS
from fglib.pages.html import render

MARKS = dict(zip(VERDICTS, "✓∎↗✗≈∅○"))
SHORT = {"patterns": "Patterns", "grafit": "Grafit", "coarse2fine": "Coarse2Fine", "subtle": "Subtle"}


def ledger_page(verdicts: list[Verdict]) -> str:
    """The whole ledger: counts, filters, and the claims of each paper."""
    papers = {paper: [v for v in verdicts if v.paper == paper] for paper in PAPERS}
    papers = {paper: found for paper, found in papers.items() if found}
    columns = [*papers.values(), sum(papers.values(), [])]
    return render("ledger", papers=papers, columns=columns, titles=PAPERS, short=SHORT, marks=MARKS)
