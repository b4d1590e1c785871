"""The report as JUnit XML: a test case for each entry, which fails if it would be refused or changed."""

import re
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from app.core.resources.service_entry import MANAGER
from app.core.routes.survey import Reviewed, Unreviewed
from app.report import Report

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow."""


def write(report: Report) -> Iterator[str]:
    """Yield one document; a file that could not be read is a test case with an error."""
    cases = [_case(reviewed, report) for reviewed in report]
    allowed, errors, skipped = report.summary.outcomes["allowed"], len(report.unreadable), len(report.skipped)
    counts = f'tests="{len(cases) + errors + skipped}" failures="{len(cases) - allowed}" errors="{errors}"'
    counts += f' skipped="{skipped}"'
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {counts}>\n'
    yield f'<testsuite name="{MANAGER}" {counts}>\n'
    yield from cases
    yield from (_unreviewed(item, 'error type="unreadable"') for item in report.unreadable)
    yield from (_unreviewed(item, "skipped") for item in report.skipped)
    yield "</testsuite>\n</testsuites>\n"


def _case(reviewed: Reviewed, report: Report) -> str:
    lines, place = list(_told(reviewed, report)), report.place(reviewed)
    line = f' line="{place.line}"' if place.line else ""
    attributes = f"classname={_attribute(reviewed.source)} name={_attribute(f'ServiceEntry {reviewed.entry.key}')}"
    attributes += f" file={_attribute(reviewed.source)}{line}"
    return f"<testcase {attributes}>{_result(reviewed, lines)}</testcase>\n"


def _result(reviewed: Reviewed, lines: Sequence[str]) -> str:
    text = _text("\n".join(lines))
    if reviewed.outcome != "allowed":
        return f'<failure type="{reviewed.outcome}" message={_attribute(lines[0])}>{text}</failure>'
    return f"<system-out>{text}</system-out>" if lines else ""


def _told(reviewed: Reviewed, report: Report) -> Iterator[str]:
    for finding in reviewed.findings:
        place, other = report.place(reviewed, finding.path), report.other(reviewed, finding)
        where = f" ({other})" if other else ""
        yield f"{place}: {finding.severity.value} {finding.sentence}{where}. {finding.remedy}"


def _unreviewed(item: Unreviewed, element: str) -> str:
    source, reason = _attribute(item.source), _attribute(item.reason)
    return f"<testcase classname={source} name={source}><{element} message={reason}/></testcase>\n"


def _attribute(text: str) -> str:
    return quoteattr(_ILLEGAL.sub("?", text))


def _text(text: str) -> str:
    return escape(_ILLEGAL.sub("?", text))
