"""What a review or an audit found, and how it is written."""

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Protocol

from app.core.insight.cluster import Insight, Overview
from app.core.resources.service_entry import Key
from app.core.routes.survey import Reviewed, Skipped, Sourced, Unreadable, Unreviewed
from app.core.rules.findings import Finding

NO_INSIGHT = Insight()


class Output(Enum):
    """How a report is written."""

    TEXT = "text"
    YAML = "yaml"
    JSON = "json"
    DIFF = "diff"
    SARIF = "sarif"
    JUNIT = "junit"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of a file, counted from 1; 0 where there are no lines, as in a cluster."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        """Spell it as compilers do."""
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Revision:
    """A text before and after the repair of all entries in it."""

    name: str
    before: str
    after: str


@dataclass(slots=True)
class ReportSummary:
    """How many entries have which outcome, and how many objects are emitted for them."""

    outcomes: Counter[str] = field(default_factory=Counter)
    emitted: int = 0

    def add(self, one: Reviewed) -> None:
        """Count one more."""
        self.outcomes[one.outcome] += 1
        self.emitted += len(one.emitted)


class Places(Protocol):
    """Where the manifests stand that were reviewed."""

    def line(self, one: Sourced, path: str) -> int:
        """Return the line of a field, counted from 1; 0 where there are no lines."""

    def named(self, kind: str, key: Key) -> Sequence[Sourced]:
        """Return the manifests of a kind and key, as far as their places are known."""


class Nowhere:
    """The places of what was not read from files."""

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
}
"""Each writes one form, by a function `write`."""


def relative(name: str) -> str:
    """Return a file's path from where the process runs, or the absolute path of one that is not below that."""
    here, path = Path.cwd(), Path(os.path.normpath(Path(name).absolute()))
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


class Report:
    """Everything there is to write; iterating gives the entries, and counts them anew.

    `reviewed` can be gone through more than once. `revisions` are given where files were read. `colour` is for text.
    """

    def __init__(  # noqa: PLR0913 - all that there is to write
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
        self.unreadable = [one for one in unreviewed if isinstance(one, Unreadable)]
        self.skipped = [one for one in unreviewed if isinstance(one, Skipped)]
        self.revisions = revisions
        self.colour = colour
        self.insight = insight
        self.summary = ReportSummary()
        self.overview = Overview()
        self._reviewed = reviewed
        self._places = places or Nowhere()

    def __iter__(self) -> Iterator[Reviewed]:
        """Give the entries in order."""
        self.summary, self.overview = ReportSummary(), Overview()
        for one in self._reviewed:
            self.summary.add(one)
            self.overview.add(one)
            yield one

    @property
    def incomplete(self) -> bool:
        """Whether something could not be read, or nothing could be reviewed of what there is."""
        return bool(self.unreadable) or (bool(self.skipped) and not any(True for _ in self._reviewed))

    @property
    def exit_code(self) -> int:
        """Return what the process ends with: 2 if incomplete, 1 for what is not as it should be, or 0."""
        if not self.summary.outcomes:
            deque(self, maxlen=0)
        if self.incomplete:
            return 2
        return int(bool(self.summary.outcomes.keys() - {"allowed"}))

    def place(self, one: Reviewed, path: str = "") -> SourceLine:
        """Return where a field of an entry stands."""
        return SourceLine(one.source, self._places.line(one.origin, path))

    def other(self, one: Reviewed, finding: Finding) -> SourceLine | None:
        """Return where the other object stands that a finding names, if it was read for the same cluster."""
        named = self._places.named(*finding.other) if finding.other else ()
        others = (each for each in named if each is not one.origin and each.cluster == one.origin.cluster)
        other = next(others, None)
        return SourceLine(other.source, self._places.line(other, "")) if other else None


def write(report: Report, output: Output) -> Iterator[str]:
    """Write a report, piece by piece; only what the form needs is imported."""
    written: Iterator[str] = import_module(f"app.report.{_MODULES[output]}").write(report)
    return written
