"""The claims ledger: book/claims.yml and the run records in, a verdict per claim out.

No verdict or number is typed: evidence (fglib.pages.evidence) is a rule over run records or over a construction that is
computed on the spot.
"""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from fglib.config import build
from fglib.documents import read_text, read_yaml
from fglib.errors import ConfigError, FglibError, check_known, shortened
from fglib.lab.places import book, root
from fglib.pages.evidence import MIN_SEEDS, NOT_INFORMATIVE, NOT_RUN, PROVED, Evidence, Finding, examine
from fglib.pages.rules import Measured
from fglib.storage import write_atomically

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

PAPERS = {
    "patterns": "Representation Learning with Fine-grained Patterns",
    "grafit": "Grafit: Learning fine-grained image representations with coarse labels",
    "coarse2fine": "Coarse2Fine: a two-stage training method for fine-grained visual classification",
    "subtle": "Fine-grained Recognition: Accounting for Subtle Differences between Similar Classes",
}


@dataclass(frozen=True)
class Claim:
    """A claim as book/claims.yml states it."""

    id: str
    paper: str
    where: str
    says: str
    metric: str
    data: str | None = None
    paper_values: dict = field(default_factory=dict)
    holds_if: str | None = None
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A claim with its verdict, why, and what it rests on; `evidence` is None where nothing is measured."""

    id: str
    paper: str
    where: str
    says: str
    metric: str
    verdict: str
    reason: str
    remarks: tuple[str, ...]  # other evidence, and the paper's own setting where that is still to be run
    measured: tuple[Measured, ...]
    gates: tuple[Measured, ...]
    paper_values: dict
    evidence: Finding | None
    command: str | None
    hardware: str | None

    def to_dict(self) -> dict:
        """Plain JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))


def load_claims(path: Path | None = None) -> list[Claim]:
    """All claims in the order of a file, book/claims.yml unless named; ConfigError names the claim and the key that is
    wrong."""
    path = path or book() / "claims.yml"
    papers = read_yaml(path, "claims file", number_keys=True)  # numbers: as in the paper's values by a factor
    if not isinstance(papers, dict):
        raise ConfigError(f"{path} must be a mapping of papers to lists of claims, got {shortened(papers)}")
    claims: dict[str, Claim] = {}
    for paper, entries in papers.items():
        check_known("paper", paper, PAPERS, str(path))
        if not isinstance(entries, list):
            raise ConfigError(f"'{paper}' in {path} must be a list of claims, got {shortened(entries)}")
        for number, entry in enumerate(entries, start=1):
            if not isinstance(entry, dict):
                raise ConfigError(f"claim {number} of '{paper}' in {path} must be a mapping, got {shortened(entry)}")
            where = f"claim {entry.get('id', f'{number} of {paper!r}')} in {path.name}"
            if "paper" in entry:
                raise ConfigError(f"{where} has the key 'paper'; a claim is of the paper that it stands under")
            claim = build(Claim, {"paper": paper, **entry}, where)
            if claim.id in claims:
                raise ConfigError(f"the id '{claim.id}' stands twice in {path}; every claim has its own")
            claims[claim.id] = claim
    return list(claims.values())


def ledger(paper: str | None = None) -> list[Verdict]:
    """The verdicts on all claims, or on those of one paper."""
    if paper is not None:
        check_known("paper", paper, PAPERS)
    return [judge(claim) for claim in load_claims() if paper in (None, claim.paper)]


def judge(claim: Claim) -> Verdict:
    """The verdict on a claim: the first evidence that could have come out either way decides, the paper's own first."""
    findings = [examine(evidence, f"claim {claim.id}") for evidence in claim.evidence]
    order = sorted((f for f in findings if f.measured), key=lambda f: (not f.informative, not f.same))  # stable
    best, *others = order or [None]
    shown = best or max(findings, key=lambda f: f.seeds, default=None)  # what is furthest, else what comes first
    remarks = []
    if best is None:
        verdict, reason = NOT_RUN, _not_run(claim, shown)
    else:
        verdict = best.verdict
        failing = "its gate fails, " if verdict == NOT_INFORMATIVE else ""
        reason = f"{_where(best)}: {failing}{'; '.join(map(str, best.decisive))}"
        remarks += [f"vacuous: {best.vacuous}"] if best.vacuous and verdict == PROVED else []
        remarks += [f"also on {_where(f)}: {f.verdict}" for f in others]
        remarks += [best.standing] if best.standing else []
        if not best.same:
            remarks += [
                f"the paper's own setting is not run (`{f.command}`)" for f in findings if f.same and not f.measured
            ]
    remarks += [f"a record does not count: {error}" for f in findings for error in f.damaged]
    return Verdict(
        **{name: getattr(claim, name) for name in ("id", "paper", "where", "says", "metric", "paper_values")},
        verdict=verdict,
        reason="; ".join([reason, *remarks]),
        remarks=tuple(remarks),
        measured=best.measured if best else (),
        gates=best.gates if best else (),
        evidence=best,
        command=shown and shown.command,
        hardware=shown and shown.hardware,
    )


def _where(finding: Finding) -> str:
    """What was measured, and how that differs from the paper."""
    return f"{finding} ({finding.note})" if finding.note else str(finding)


def _not_run(claim: Claim, nearest: Finding | None) -> str:
    if nearest is None:
        return "no experiment for it in the library yet" + (f" (data: {claim.data})" if claim.data else "")
    return (
        f"{nearest.seeds} of {MIN_SEEDS} seeds recorded of {nearest.source} (preset {nearest.preset}); "
        f"`{nearest.command}` runs it; hardware: {nearest.hardware}"
    )


def readme_block(verdicts: list[Verdict]) -> str:
    """The results table of the README, markers included: claims with an experiment, then how many have none."""
    rows = ["| Claim | Verdict | Measured | Command |", "|---|---|---|---|"]
    for v in verdicts:
        if v.command:
            verdict = f"{v.verdict} ({v.evidence.source})" if v.evidence else v.verdict
            decisive = v.evidence.decisive[:2] if v.evidence else ()
            measured = "; ".join(f"`{m}`" for m in decisive) or f"hardware: {v.hardware}"
            cells = (f"{v.where}: {v.says}", verdict, measured, f"`{v.command}`")
            rows.append(f"| {' | '.join(map(_cell, cells))} |")
    rest = sum(v.command is None for v in verdicts)
    end = f"{rest} further claims have no experiment in the library yet and are not run; `fglib claims` lists them."
    return "\n".join([BEGIN, "", *rows, "", end, "", END])


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table, in which a tag is text and `code` stays code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    plain = "".join(part if part.startswith("`") else part.replace("&", "&amp;").replace("<", "&lt;") for part in parts)
    return plain.replace("|", "\\|")


def update_readme(path: Path | None = None) -> str:
    """Write the results table between its markers in the README; returns a sentence on what was done."""
    path = path or root() / "README.md"
    text = read_text(path, error=FglibError)
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise FglibError(f"{path} lacks the lines {BEGIN} and {END}; put them where the results table belongs")
    new = before + readme_block(ledger()) + after
    if new == text:
        return f"{path.name}: the results table is up to date"
    write_atomically(path, new.encode())
    return f"{path.name}: results table written"
