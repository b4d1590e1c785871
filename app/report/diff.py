"""The report as a unified diff, for `patch -p1` and `git apply` in the working directory of the review."""

import re
from collections.abc import Iterable, Iterator, Sequence

from app.manifests.writer import document
from app.report import Report, Revision, relative

CONTEXT = 3
"""Number of context lines."""
_LINE = re.compile(r"[^\n]*\n|[^\n]+")

Lines = Sequence[str]
Change = tuple[int, int, int, int]
"""The first line and the line after the last, counted from 0, of the old and of the new text."""


def write(report: Report) -> Iterator[str]:
    """Yield the lines of the diff: of the files that were read, or of each entry as its own file."""
    for revision in _entries(report) if report.revisions is None else report.revisions:
        before, after = _LINE.findall(revision.before), _LINE.findall(revision.after)
        yield from _header(relative(revision.name).lstrip("/"))
        for hunk in _hunks(_changes(before, after)):
            yield from _written(hunk, before, after)


def _entries(report: Report) -> Iterator[Revision]:
    for reviewed in report:
        if reviewed.verdict.patch:
            yield Revision(f"{reviewed.entry.key}.yaml", document(reviewed.manifest), document(reviewed.stored))


def _header(name: str) -> Iterator[str]:
    end = "\t" if " " in name else ""  # ends a name with spaces, as in GNU diff
    yield f"--- a/{name}{end}\n"
    yield f"+++ b/{name}{end}\n"


def _changes(before: Lines, after: Lines) -> Iterator[Change]:
    """Compare texts that differ by repairs: by changed or added lines.

    For other texts the result is correct but long. difflib takes seconds for a thousand repairs.
    """
    old, new = 0, 0
    while old < len(before) and new < len(after):
        if before[old] == after[new]:
            old, new = old + 1, new + 1
        elif after[new + 1 : new + 2] == [before[old]]:
            yield old, old, new, new + 1
            new += 1
        else:
            yield old, old + 1, new, new + 1
            old, new = old + 1, new + 1
    if old < len(before) or new < len(after):
        yield old, len(before), new, len(after)


def _hunks(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Join changes whose context would overlap."""
    hunk: list[Change] = []
    for change in changes:
        if hunk and change[0] - hunk[-1][1] > 2 * CONTEXT:
            yield hunk
            hunk = []
        hunk.append(change)
    if hunk:
        yield hunk


def _written(hunk: Sequence[Change], before: Lines, after: Lines) -> Iterator[str]:
    start, end = max(0, hunk[0][0] - CONTEXT), min(len(before), hunk[-1][1] + CONTEXT)
    shift, grown = hunk[0][2] - hunk[0][0], hunk[-1][3] - hunk[-1][1]
    yield f"@@ -{_range(start, end)} +{_range(start + shift, end + grown)} @@\n"
    place = start
    for old_start, old_end, new_start, new_end in hunk:
        yield from _marked(" ", before[place:old_start])
        yield from _marked("-", before[old_start:old_end])
        yield from _marked("+", after[new_start:new_end])
        place = old_end
    yield from _marked(" ", before[place:end])


def _range(start: int, end: int) -> str:
    """Format the first line, counted from 1, and the number of lines; if there is none, the line before."""
    return f"{start + (end > start)},{end - start}"


def _marked(mark: str, lines: Lines) -> Iterator[str]:
    for line in lines:
        yield f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"
