"""The report as JUnit XML: a test case for each entry, which fails if it would be refused or changed."""

import re
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from app.core.routes.survey import Reviewed, Unreviewed
from app.report import Report

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write."""


def write(report: Report) -> Iterator[str]:
    """Yield one document; what could not be read is a test case with an error."""
    cases = [_case(one, report) for one in report]
    allowed, errors, skipped = report.summary.outcomes["allowed"], len(report.unreadable), len(report.skipped)
    counts = f'tests="{len(cases) + errors + skipped}" failures="{len(cases) - allowed}" errors="{errors}"'
    counts += f' skipped="{skipped}"'
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {counts}>\n'
    yield f'<testsuite name="serviceentry-guard" {counts}>\n'
    yield from cases
    yield from (_unreviewed(one, 'error type="unreadable"') for one in report.unreadable)
    yield from (_unreviewed(one, "skipped") for one in report.skipped)
    yield "</testsuite>\n</testsuites>\n"


def _case(one: Reviewed, report: Report) -> str:
    told, place = list(_told(one, report)), report.place(one)
    line = f' line="{place.line}"' if place.line else ""
    attributes = f"classname={_attribute(one.source)} name={_attribute(f'ServiceEntry {one.entry.key}')}"
    attributes += f" file={_attribute(one.source)}{line}"
    return f"<testcase {attributes}>{_result(one, told)}</testcase>\n"


def _result(one: Reviewed, told: Sequence[str]) -> str:
    text = _text("\n".join(told))
    if one.outcome != "allowed":
        return f'<failure type="{one.outcome}" message={_attribute(told[0])}>{text}</failure>'
    return f"<system-out>{text}</system-out>" if told else ""


def _told(one: Reviewed, report: Report) -> Iterator[str]:
    for finding in one.findings:
        place, other = report.place(one, finding.path), report.other(one, finding)
        where = f" ({other})" if other else ""
        yield f"{place}: {finding.severity.value} {finding.sentence}{where}. {finding.remedy}"


def _unreviewed(one: Unreviewed, element: str) -> str:
    source, reason = _attribute(one.source), _attribute(one.reason)
    return f"<testcase classname={source} name={source}><{element} message={reason}/></testcase>\n"


def _attribute(text: str) -> str:
    return quoteattr(_ILLEGAL.sub("?", text))


def _text(text: str) -> str:
    return escape(_ILLEGAL.sub("?", text))
