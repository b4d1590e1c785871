"""docs/reliability.md, docs/performance.md and docs/index.md: these tables are what the run has seen."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.charts import DOCS, draw
from tests.cluster.load import Created

RELIABILITY, PERFORMANCE, INDEX = "reliability.md", "performance.md", "index.md"
BEGIN, END = "<!-- Made by `make cluster-test`. -->\n", "<!-- End of what is made. -->\n"
KEEP = "CLUSTER_TEST_WRITES"
"""Set to have the run write the page: figures of a busy machine are not to replace good ones."""
HEAD = ("what happens", "creates", "refused", "not repaired", "slowest create", "all routed after", "longest pause")
LEADER_HEAD = ("figure", "measured")
LEADER_KILLED = "kill -9 of the leader"
RESTARTS = {name: f"rollout restart of the {name}" for name in ("webhook", "controller")}
LOSSES = (LEADER_KILLED, RESTARTS["controller"])
"""Disruptions that take the leader away."""
STORY_HEAD = ("what happens", "failed without the guard", "failed with it")


@dataclass(frozen=True, slots=True)
class Row:
    """One disruption and what became of the creates while it lasted."""

    title: str
    created: int
    refused: int
    raw: int
    slowest: float
    routed: float
    pause: float
    """Seconds in which no VirtualService was new."""

    @classmethod
    def of(cls, title: str, created: Sequence[Created], routed: float, pause: float) -> "Row":
        """Count."""
        stored = [one for one in created if one.status == 201]
        raw = sum(one.resolution != "DNS" for one in stored)
        slowest = max((one.seconds for one in created), default=0.0)
        return cls(title, len(created), len(created) - len(stored), raw, slowest, routed, pause)

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        numbers = (self.created, self.refused, self.raw)
        return (self.title, *map(str, numbers), f"{self.slowest:.1f} s", f"{self.routed:.0f} s", f"{self.pause:.1f} s")

    def line(self) -> str:
        """The row as a line of a log."""
        return ", ".join(f"{name}: {cell}" for name, cell in zip(HEAD, self.cells(), strict=True))


@dataclass(frozen=True, slots=True)
class Failures:
    """How many calls of an application failed while something went on."""

    title: str
    guarded: bool
    calls: int
    failed: int
    message: str

    @property
    def figure(self) -> str:
        """As a cell of the table."""
        return f"{self.failed} of {self.calls}"

    def line(self) -> str:
        """As a line of a log."""
        guard = "with the guard" if self.guarded else "without the guard"
        said = f" with {self.message}" if self.failed else ""
        return f"{self.title}, {guard}: {self.figure} calls failed{said}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The rows as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def write(rows: Sequence[Row]) -> None:
    """Put the table of disruptions into its page, and what the leader's loss costs, if the run is asked to."""
    _put(RELIABILITY, table(HEAD, [row.cells() for row in rows]))
    losses = [
        (f"{row.title}, until the next VirtualService", f"{row.pause:.1f} s") for row in rows if row.title in LOSSES
    ]
    _put(PERFORMANCE, table(LEADER_HEAD, losses))


def write_story(rows: Sequence[Failures]) -> None:
    """Put the table of calls that failed into its page, and draw its chart anew, if the run is asked to."""
    figures = {(row.title, row.guarded): row.figure for row in rows}
    lines = [(title, figures[title, False], figures[title, True]) for title in dict.fromkeys(row.title for row in rows)]
    _put(INDEX, table(STORY_HEAD, lines))


def _put(name: str, made: str) -> None:
    if KEEP in os.environ:
        page = DOCS / name
        before, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}")
        draw(page)
