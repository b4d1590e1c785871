"""docs/reliability.md: its table is what the run has seen."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.load import Created

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- Made by `make cluster-test`. -->\n", "<!-- End of what is made. -->\n"
KEEP = "CLUSTER_TEST_WRITES"
"""Set to have the run write the page: figures of a busy machine are not to replace good ones."""
HEAD = ("what happens", "creates", "refused", "not repaired", "slowest create", "all routed after")


@dataclass(frozen=True, slots=True)
class Row:
    """One disruption and what became of the creates while it lasted."""

    title: str
    created: int
    refused: int
    raw: int
    slowest: float
    routed: float

    @classmethod
    def of(cls, title: str, created: Sequence[Created], routed: float) -> "Row":
        """Count."""
        stored = [one for one in created if one.status == 201]
        raw = sum(one.resolution != "DNS" for one in stored)
        slowest = max((one.seconds for one in created), default=0.0)
        return cls(title, len(created), len(created) - len(stored), raw, slowest, routed)

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        numbers = (self.created, self.refused, self.raw)
        return (self.title, *map(str, numbers), f"{self.slowest:.1f} s", f"{self.routed:.0f} s")

    def line(self) -> str:
        """The row as a line of a log."""
        return ", ".join(f"{name}: {cell}" for name, cell in zip(HEAD, self.cells(), strict=True))


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = [HEAD, tuple("---" for _ in HEAD), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def write(rows: Sequence[Row]) -> None:
    """Put the table into the page, if the run is asked to."""
    if KEEP in os.environ:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{rest.partition(END)[2]}")
