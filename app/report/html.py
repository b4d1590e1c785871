"""The report as one HTML file to send to others: it loads nothing over the network, and can be read without scripts.

The page is written in pieces. The entries are iterated twice: first for the summary above the table.
"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from app.core.resources.fields import JSON
from app.core.resources.quantities import count, share
from app.core.routes.survey import Reviewed, Unreviewed
from app.core.rules.findings import Finding, Severity
from app.manifests.writer import dump
from app.report import Report
from app.report.html_insight import sections
from app.report.markup import Cell, items, table, text, yaml_block

OUTCOMES = {
    "refused": "would be refused",
    "changed": "would be changed",
    "incomplete": "lack an object of the guard",
    "allowed": "need no change",
}
HEADS = (("ServiceEntry", "half"), ("Outcome", "narrow"), ("Findings and what to do", ""), ("YAML", "half"))
OF_THE_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
"""Metadata that is removed from a manifest to copy."""
_HERE = Path(__file__).parent
_ORDER = {name: str(place) for place, name in enumerate(OUTCOMES)}


def write(report: Report) -> Iterator[str]:
    """Yield the page."""
    deque(report, maxlen=0)
    summary, overview = report.summary, report.overview
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,"><title>serviceentry-guard: report</title>'
        f"<style>\n{style}</style></head><body>\n<h1>What serviceentry-guard would do</h1>\n"
    )
    total = summary.outcomes.total()
    yield f"<p>{total} ServiceEntries reviewed; {summary.emitted} objects to emit.</p>\n"
    yield '<div class="stack" aria-hidden="true">'
    for name in OUTCOMES:
        if number := summary.outcomes[name]:
            yield f'<span class="{name}" style="flex:{number}"></span>'
    yield "</div>\n"
    said = [_said(name, summary.outcomes[name], total) for name in OUTCOMES if summary.outcomes[name]]
    yield items(said)
    yield from sections(report.insight, overview)
    yield from _entries(report)
    yield from _unreviewed(report)
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    yield f"<script>\n{script}</script></body></html>\n"


def _said(name: str, number: int, total: int) -> str:
    return f'<span class="outcome {name}">{count(number)} ({share(number, total)})</span> {OUTCOMES[name]}'


def _entries(report: Report) -> Iterator[str]:
    yield "<h2>ServiceEntries</h2>\n"
    yield from table(HEADS, ((reviewed.outcome, _row(reviewed, report)) for reviewed in report))


def _row(reviewed: Reviewed, report: Report) -> tuple[Cell, ...]:
    place = report.place(reviewed)
    name = f'<strong>{text(reviewed.entry.key)}</strong><br><span class="soft">{text(place)}</span>'
    outcome = f'<span class="outcome {reviewed.outcome}">{reviewed.outcome}</span>'
    findings = items(_finding(finding) for finding in reviewed.findings)
    return Cell(name), Cell(outcome, _ORDER[reviewed.outcome]), Cell(findings or "none"), Cell(_yaml(reviewed))


def _finding(finding: Finding) -> str:
    remedy = "" if finding.severity is Severity.INFO else f'<br><span class="soft">{text(finding.remedy)}</span>'
    place = f" <code>{text(finding.path)}</code>" if finding.path else ""
    return f"<strong>{finding.code}</strong>{place}: {text(finding.message)}{remedy}"


def _yaml(reviewed: Reviewed) -> str:
    """Return the changed entry, if any, and the objects emitted for it."""
    entry = yaml_block("ServiceEntry", dump(_written(reviewed.stored))) if reviewed.verdict.patch else ""
    emitted = "".join(
        yaml_block(f"{each.kind} {each.key.name}", dump(_written(manifest)))
        for each, manifest in zip(reviewed.emitted, reviewed.objects, strict=True)
    )
    return entry + emitted


def _written(manifest: JSON) -> JSON:
    """Return a manifest without the fields that the API server adds."""
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in OF_THE_SERVER}
    metadata.pop("ownerReferences", None)
    return {name: metadata if name == "metadata" else value for name, value in manifest.items() if name != "status"}


def _unreviewed(report: Report) -> Iterator[str]:
    unreviewed: list[Unreviewed] = [*report.unreadable, *report.skipped]
    lines = [f"{text(item.source)}: {text(item.reason)}" for item in unreviewed]
    if lines:
        yield f"<h2>Not reviewed</h2>\n{items(lines)}"
