"""The report as text: by file and entry, with a summary."""

from collections.abc import Iterator
from itertools import groupby

from app.core.routes.survey import Reviewed
from app.core.rules.findings import Finding, Severity
from app.report import Report, ReportSummary
from app.report.insight import insight_lines

BOLD, RED, GREEN, YELLOW, BLUE = "1", "31", "32", "33", "34"
_SEVERITIES = {Severity.ERROR: RED, Severity.WARNING: YELLOW, Severity.INFO: BLUE}
_OUTCOMES = {"refused": RED, "changed": YELLOW, "incomplete": YELLOW, "allowed": GREEN}
_INDENT = " " * 12


def write(report: Report) -> Iterator[str]:
    """Yield lines; each finding with its line in the file, and errors and warnings with a remedy."""
    for source, entries in groupby(report, key=lambda reviewed: reviewed.source):
        yield _coloured(source, BOLD, report) + "\n"
        for reviewed in entries:
            yield from (f"{line}\n" for line in _entry(reviewed, report))
    skipped = f"; {len(report.skipped)} skipped" if report.skipped else ""
    yield f"{_summary(report.summary)}{skipped}\n"
    yield from (f"{line}\n" for line in insight_lines(report))


def _entry(reviewed: Reviewed, report: Report) -> Iterator[str]:
    yield f"  ServiceEntry {reviewed.entry.key} {_coloured(reviewed.outcome, _OUTCOMES[reviewed.outcome], report)}"
    for finding in reviewed.findings:
        severity = _coloured(f"{finding.severity.value:8}", _SEVERITIES[finding.severity], report)
        yield f"    {severity}{finding.sentence}"
        yield from (_INDENT + line for line in _places(reviewed, finding, report))
    for emitted in reviewed.emitted:
        yield f"    emits   {emitted.kind} {emitted.key}"


def _places(reviewed: Reviewed, finding: Finding, report: Report) -> Iterator[str]:
    place = report.place(reviewed, finding.path)
    remedy = "" if finding.severity is Severity.INFO else finding.remedy
    if line := ": ".join(filter(None, [str(place) if place.line else "", remedy])):
        yield line
    if other := report.other(reviewed, finding):
        yield f"{other}: conflicting object"


def _coloured(text: str, colour: str, report: Report) -> str:
    return f"\033[{colour}m{text}\033[0m" if report.colour else text


def _summary(summary: ReportSummary) -> str:
    outcomes = ("refused", "changed", "incomplete", "allowed")
    counts = [f"{summary.outcomes[name]} {name}" for name in outcomes if name != "incomplete" or summary.outcomes[name]]
    total = _count(summary.outcomes.total(), "ServiceEntry", "ServiceEntries")
    return f"{total} reviewed: {', '.join(counts)}; {_count(summary.emitted, 'object', 'objects')} to emit"


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"
