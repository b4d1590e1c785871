"""The report as a unified diff, for `patch -p1` and `git apply` in the working directory of the review.

difflib makes the hunks, from the equal lines that `_Comparison` finds. `difflib.unified_diff` cannot use them: its own
comparison takes 4.5 s for a file with a thousand repairs.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import Match, SequenceMatcher

from app.manifests.writer import document
from app.report import Report, Revision, relative

CONTEXT = 3
"""Number of context lines."""
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def write(report: Report) -> Iterator[str]:
    """Yield the lines of the diff: of the files that were read, or of each entry as its own file."""
    for revision in _entries(report) if report.revisions is None else report.revisions:
        yield from _header(relative(revision.name).lstrip("/"))
        yield from _hunks(_LINE.findall(revision.before), _LINE.findall(revision.after))


def _entries(report: Report) -> Iterator[Revision]:
    for reviewed in report:
        if reviewed.verdict.patch:
            yield Revision(f"{reviewed.entry.key}.yaml", document(reviewed.manifest), document(reviewed.stored))


def _header(name: str) -> Iterator[str]:
    end = "\t" if " " in name else ""  # ends a name with spaces, as in GNU diff
    yield f"--- a/{name}{end}\n"
    yield f"+++ b/{name}{end}\n"


def _hunks(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    for hunk in _Comparison(before, after).get_grouped_opcodes(CONTEXT):
        (_, start, _, new_start, _), (_, _, end, _, new_end) = hunk[0], hunk[-1]
        yield f"@@ -{_range(start, end)} +{_range(new_start, new_end)} @@\n"
        for kind, start, end, new_start, new_end in hunk:
            yield from _marked(" " if kind == "equal" else "-", before[start:end])
            if kind != "equal":
                yield from _marked("+", after[new_start:new_end])


class _Comparison(SequenceMatcher[str]):
    """Compares texts that differ by repairs: by changed or added lines.

    For other texts the result is correct, but has more lines than necessary.
    """

    def __init__(self, before: Sequence[str], after: Sequence[str]) -> None:
        super().__init__()
        self._before, self._after = before, after

    def get_matching_blocks(self) -> list[Match]:
        """Return the runs of equal lines, and an empty one at the end."""
        before, after, blocks = self._before, self._after, []
        old = new = 0
        while old < len(before) and new < len(after):
            size = self._equal(old, new)
            blocks += [Match(old, new, size)] if size else []
            old, new = old + size, new + size
            added = after[new + 1 : new + 2] == before[old : old + 1]
            old, new = old + (not added), new + 1
        return [*blocks, Match(len(before), len(after), 0)]

    def _equal(self, old: int, new: int) -> int:
        """Return the number of equal lines from two places on."""
        most = min(len(self._before) - old, len(self._after) - new)
        return next((size for size in range(most) if self._before[old + size] != self._after[new + size]), most)


def _range(start: int, end: int) -> str:
    """Format the first line, counted from 1, and the number of lines; if there is none, the line before."""
    return f"{start + (end > start)},{end - start}"


def _marked(mark: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"
