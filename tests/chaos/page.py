"""docs/reliability.md: the table of faults is what the last whole run has seen."""

from collections.abc import Sequence
from pathlib import Path

from tests.chaos.runner import Outcome

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- Made by `make chaos`. -->\n", "<!-- End of the table of faults. -->\n"
HEAD = (
    "fault",
    "writes of teams",
    "rejected",
    "lost or left over",
    "objects of others changed",
    "not repaired",
    "two writers",
    "right again after",
    "writes",
    "for nothing",
)


def cells(outcome: Outcome) -> tuple[str, ...]:
    """An outcome as a row."""
    counts = outcome.counts
    numbers = (
        counts.acknowledged + counts.rejected + counts.unanswered,
        f"{counts.rejected + counts.unanswered}",
        outcome.difference.count,
        outcome.touched,
        counts.raw,
        f"{outcome.by_two} (forced)" if "two writers" in outcome.fault.forced else outcome.by_two,
        f"{outcome.seconds:.1f} s",
        outcome.writes,
        outcome.for_nothing,
    )
    title = f"{outcome.fault.title} ({'; '.join(outcome.notes)})" if outcome.notes else outcome.fault.title
    return (title, *map(str, numbers))


def line(outcome: Outcome) -> str:
    """An outcome as a line of a terminal."""
    return ", ".join(f"{name}: {cell}" for name, cell in zip(HEAD, cells(outcome), strict=True))


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as Markdown."""
    rows = [HEAD, tuple("---" for _ in HEAD), *map(cells, outcomes)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def write(content: str, begin: str = BEGIN, end: str = END, page: Path = PAGE) -> None:
    """Put what a run has seen between its markers."""
    before, _, rest = page.read_text().partition(begin)
    page.write_text(f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}")
