"""The report as SARIF 2.1.0, for code scanning."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import PurePath
from urllib.parse import quote

from app.core.resources.fields import JSON
from app.core.resources.service_entry import MANAGER
from app.core.routes.survey import Reviewed, Unreviewed
from app.core.rules.catalogue import CATALOGUE
from app.core.rules.findings import Finding, Severity
from app.report import Report, SourceLine, relative

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "%SRCROOT%"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_RULES = {code: index for index, code in enumerate(CATALOGUE)}


def write(report: Report) -> Iterator[str]:
    """Yield one SARIF log in pieces, one result per line."""
    run = {"tool": {"driver": _driver()}, "columnKind": "unicodeCodePoints", "invocations": [_invocation(report)]}
    head = json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})
    yield head.removesuffix("}]}") + ', "results": ['
    before = "\n"
    for reviewed in report:
        for result in _results(reviewed, report):
            yield before + json.dumps(result)
            before = ",\n"
    yield "\n]}]}\n"


def _driver() -> JSON:
    rules = [
        {
            "id": rule.code,
            "name": rule.name,
            "shortDescription": {"text": rule.meaning},
            "help": {"text": rule.remedy},
        }
        for rule in CATALOGUE.values()
    ]
    return {"name": MANAGER, "version": version(MANAGER), "rules": rules}


def _invocation(report: Report) -> JSON:
    unreadable = [_notification(item, "error") for item in report.unreadable]
    skipped = [_notification(item, "warning") for item in report.skipped]
    return {"executionSuccessful": not report.incomplete, "toolExecutionNotifications": unreadable + skipped}


def _notification(item: Unreviewed, level: str) -> JSON:
    text, place = f"{item.source} {item.reason}", SourceLine(item.source, item.line)
    return {"level": level, "message": {"text": text}, "locations": [_location(place)]}


def _results(reviewed: Reviewed, report: Report) -> Iterator[JSON]:
    seen = Counter[tuple[str, str]]()
    for finding in reviewed.findings:
        same = finding.code, finding.path
        seen[same] += 1
        yield _result(reviewed, finding, seen[same], report)


def _result(reviewed: Reviewed, finding: Finding, number: int, report: Report) -> JSON:
    where = {"fullyQualifiedName": f"ServiceEntry/{reviewed.entry.key}", "kind": "resource"}
    other = report.other(reviewed, finding)
    return {
        "ruleId": finding.code,
        "ruleIndex": _RULES[finding.code],
        "level": _LEVELS[finding.severity],
        "message": {"text": f"ServiceEntry {reviewed.entry.key} {finding.path}: {finding.message}. {finding.remedy}"},
        "locations": [_location(report.place(reviewed, finding.path)) | {"logicalLocations": [where]}],
        **({"relatedLocations": [_location(other)]} if other else {}),
        "partialFingerprints": {"serviceEntry/v1": _fingerprint(reviewed, finding, number)},
    }


def _location(place: SourceLine) -> dict[str, JSON]:
    region = {"region": {"startLine": place.line}} if place.line else {}
    return {"physicalLocation": {"artifactLocation": _artifact(place.source), **region}}


def _artifact(source: str) -> JSON:
    path = PurePath(relative(source))
    return {"uri": path.as_uri()} if path.is_absolute() else {"uri": quote(path.as_posix()), "uriBaseId": ROOT}


def _fingerprint(reviewed: Reviewed, finding: Finding, number: int) -> str:
    """Return a digest that stays the same if lines move or sentences change; `number` distinguishes equal results."""
    identity = [relative(reviewed.source), str(reviewed.entry.key), finding.code, finding.path, number]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()
