"""The report as a unified diff, for `patch -p1` and `git apply` where the review was run."""

import re
from collections.abc import Iterator
from difflib import unified_diff

from app.manifests.writer import document
from app.report import Report, Revision, relative

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def write(report: Report) -> Iterator[str]:
    """Yield the lines of the diff: of the files that were read, or else of each entry as a file of its own."""
    for revision in _entries(report) if report.revisions is None else report.revisions:
        yield from _diff(revision)


def _entries(report: Report) -> Iterator[Revision]:
    for one in report:
        if one.verdict.patch:
            yield Revision(f"{one.entry.key}.yaml", document(one.manifest), document(one.stored))


def _diff(revision: Revision) -> Iterator[str]:
    name = relative(revision.name).lstrip("/")
    # A name with spaces ends at a tab, as GNU diff writes it.
    end = "\t" if " " in name else ""
    lines = _LINE.findall(revision.before), _LINE.findall(revision.after)
    for line in unified_diff(*lines, f"a/{name}{end}", f"b/{name}{end}"):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
