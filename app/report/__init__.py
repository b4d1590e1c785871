"""The report of a review or an audit, and its formats."""

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Protocol

from app.core.insight.cluster import Insight, Overview
from app.core.resources.records import Record
from app.core.resources.service_entry import Key
from app.core.routes.survey import Reviewed, Skipped, Sourced, Unreadable, Unreviewed
from app.core.rules.findings import Finding

NO_INSIGHT = Insight()


class Output(Enum):
    """The output formats."""

    TEXT = "text"
    YAML = "yaml"
    JSON = "json"
    DIFF = "diff"
    SARIF = "sarif"
    JUNIT = "junit"
    HTML = "html"
    GITHUB = "github"


class SourceLine(Record):
    """A line of a file, counted from 1; 0 if there are no lines, as in a cluster."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        """Format it like a compiler: FILE:LINE."""
        return f"{self.source}:{self.line}" if self.line else self.source


class Revision(Record):
    """A text before and after the repair of all entries in it."""

    name: str
    before: str
    after: str


@dataclass(slots=True)
class ReportSummary:
    """The number of entries by outcome, and the number of objects emitted for them."""

    outcomes: Counter[str] = field(default_factory=Counter)
    emitted: int = 0

    def add(self, reviewed: Reviewed) -> None:
        """Count one more."""
        self.outcomes[reviewed.outcome] += 1
        self.emitted += len(reviewed.emitted)


class Places(Protocol):
    """The positions of the reviewed manifests."""

    def line(self, manifest: Sourced, path: str) -> int:
        """Return the line of a field, counted from 1; 0 if there are no lines."""

    def named(self, kind: str, key: Key) -> Sequence[Sourced]:
        """Return the manifests of a kind and key whose positions are known."""


class Nowhere:
    """The positions of manifests that were not read from files."""

    def line(self, _one: Sourced, _path: str) -> int:
        """Return 0."""
        return 0

    def named(self, _kind: str, _key: Key) -> Sequence[Sourced]:
        """Return nothing."""
        return ()


_MODULES = {
    Output.TEXT: "text",
    Output.YAML: "yaml_",
    Output.JSON: "json_",
    Output.DIFF: "diff",
    Output.SARIF: "sarif",
    Output.JUNIT: "junit",
    Output.HTML: "html",
    Output.GITHUB: "github",
}
"""Each module writes one format, with a function `write`."""


def relative(name: str) -> str:
    """Return a file's path relative to the working directory; the absolute path if the file is not below it."""
    here, path = Path.cwd(), Path(os.path.normpath(Path(name).absolute()))
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


class Report:
    """The content of a report; iterating yields the entries, and counts them again.

    `reviewed` can be iterated more than once. `revisions` are set if files were read. `colour` is for text.
    """

    def __init__(  # noqa: PLR0913 - the content of a report
        self,
        reviewed: Iterable[Reviewed],
        unreviewed: Iterable[Unreviewed] = (),
        places: Places | None = None,
        revisions: Sequence[Revision] | None = None,
        *,
        colour: bool = False,
        insight: Insight = NO_INSIGHT,
    ) -> None:
        unreviewed = tuple(unreviewed)
        self.unreadable = [item for item in unreviewed if isinstance(item, Unreadable)]
        self.skipped = [item for item in unreviewed if isinstance(item, Skipped)]
        self.revisions = revisions
        self.colour = colour
        self.insight = insight
        self.summary = ReportSummary()
        self.overview = Overview()
        self._reviewed = reviewed
        self._places = places or Nowhere()

    def __iter__(self) -> Iterator[Reviewed]:
        """Yield the entries in order."""
        self.summary, self.overview = ReportSummary(), Overview()
        for reviewed in self._reviewed:
            self.summary.add(reviewed)
            self.overview.add(reviewed)
            yield reviewed

    @property
    def incomplete(self) -> bool:
        """Whether a file could not be read, or no entry could be reviewed although there are some."""
        return bool(self.unreadable) or (bool(self.skipped) and not any(True for _ in self._reviewed))

    @property
    def exit_code(self) -> int:
        """Return the exit code: 2 if incomplete, 1 if an entry would be changed or refused, or 0."""
        if not self.summary.outcomes:
            deque(self, maxlen=0)
        if self.incomplete:
            return 2
        return int(bool(self.summary.outcomes.keys() - {"allowed"}))

    def place(self, reviewed: Reviewed, path: str = "") -> SourceLine:
        """Return the position of a field of an entry."""
        return SourceLine(reviewed.source, self._places.line(reviewed.origin, path))

    def other(self, reviewed: Reviewed, finding: Finding) -> SourceLine | None:
        """Return the position of the other object that a finding names, if it belongs to the same cluster."""
        named = self._places.named(*finding.other) if finding.other else ()
        others = (each for each in named if each is not reviewed.origin and each.cluster == reviewed.origin.cluster)
        other = next(others, None)
        return SourceLine(other.source, self._places.line(other, "")) if other else None


def write(report: Report, output: Output) -> Iterator[str]:
    """Write a report in pieces; only the module of the format is imported."""
    written: Iterator[str] = import_module(f"app.report.{_MODULES[output]}").write(report)
    return written
