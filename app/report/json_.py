"""The report as JSON, as docs/schemas/review.schema.json describes it, with one entry per line."""

import json
from collections.abc import Iterable, Iterator

from app.core.resources.fields import JSON
from app.core.routes.survey import Reviewed, Unreviewed
from app.core.rules.findings import Finding
from app.report import Report, SourceLine
from app.report.insight import insight_document

REVIEW_VERSION = "serviceentry-guard.io/v1alpha1"
REVIEW_KIND = "Review"


def write(report: Report) -> Iterator[str]:
    """Yield one JSON object in pieces."""
    yield f'{{"apiVersion": "{REVIEW_VERSION}", "kind": "{REVIEW_KIND}", "entries": ['
    before = "\n"
    for reviewed in report:
        yield before + json.dumps(_entry(reviewed, report))
        before = ",\n"
    yield f'\n], "unreadable": {json.dumps(_unreviewed(report.unreadable))}, '
    yield f'"skipped": {json.dumps(_unreviewed(report.skipped))}, '
    for name, value in insight_document(report).items():
        yield f'"{name}": {json.dumps(value)}, '
    yield f'"summary": {json.dumps(_summary(report))}}}\n'


def _unreviewed(places: Iterable[Unreviewed]) -> JSON:
    return [_place(SourceLine(item.source, item.line)) | {"reason": item.reason} for item in places]


def _entry(reviewed: Reviewed, report: Report) -> JSON:
    return _place(report.place(reviewed)) | {
        "namespace": reviewed.entry.key.namespace,
        "name": reviewed.entry.key.name,
        "outcome": reviewed.outcome,
        "findings": [_finding(reviewed, finding, report) for finding in reviewed.findings],
        "patch": list(reviewed.verdict.patch),
        "emits": [
            {"kind": each.kind, "namespace": each.key.namespace, "name": each.key.name} for each in reviewed.emitted
        ],
    }


def _finding(reviewed: Reviewed, finding: Finding, report: Report) -> JSON:
    other = report.other(reviewed, finding)
    return _place(report.place(reviewed, finding.path)) | {
        "code": finding.code,
        "rule": finding.rule.name,
        "severity": finding.severity.value,
        "path": finding.path,
        "message": finding.message,
        "remedy": finding.remedy,
        **({"other": _place(other)} if other else {}),
    }


def _place(place: SourceLine) -> dict[str, JSON]:
    return {"source": place.source, **({"line": place.line} if place.line else {})}


def _summary(report: Report) -> JSON:
    outcomes = report.summary.outcomes
    counts = {name: outcomes[name] for name in ("refused", "changed", "incomplete", "allowed")}
    return {"entries": outcomes.total(), **counts, "emitted": report.summary.emitted}
