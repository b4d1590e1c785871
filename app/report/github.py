"""The report as workflow commands of GitHub Actions: each finding is an annotation at its line."""

from collections.abc import Iterator

from app.core.resources.service_entry import MANAGER
from app.core.routes.survey import Reviewed
from app.core.rules.findings import Finding, Severity
from app.report import Report, SourceLine, relative

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def write(report: Report) -> Iterator[str]:
    """Yield one workflow command a line; also for each file that cannot be read or must be rendered first."""
    for reviewed in report:
        yield from (_annotation(reviewed, finding, report) for finding in reviewed.findings)
    for items, command in ((report.unreadable, "error"), (report.skipped, "warning")):
        yield from (_command(command, SourceLine(item.source, item.line), MANAGER, item.reason) for item in items)


def _annotation(reviewed: Reviewed, finding: Finding, report: Report) -> str:
    text = f"{finding.path}: {finding.message}. {finding.remedy}"
    if other := report.other(reviewed, finding):
        text += f" Conflicting object: {other}"
    title = f"{finding.code} ServiceEntry {reviewed.entry.key} {reviewed.outcome}"
    return _command(_COMMANDS[finding.severity], report.place(reviewed, finding.path), title, text)


def _command(name: str, place: SourceLine, title: str, text: str) -> str:
    properties = {"file": relative(place.source), "line": str(place.line), "title": title}
    if not place.line:  # the whole file, or no file at all, as in a cluster
        del properties["line"]
    written = ",".join(f"{key}={_escaped(value, _PROPERTY)}" for key, value in properties.items())
    return f"::{name} {written}::{_escaped(text, _DATA)}\n"


def _escaped(text: str, characters: dict[str, str]) -> str:
    return "".join(characters.get(character, character) for character in text)
