"""docs/performance.md: what is between its two markers is written by a run, never by hand."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.charts import draw
from tests.perf.figures import Figure, as_markdown

BEGIN, END = "<!-- figures: written by `python -m tests.perf --write` -->", "<!-- end of figures -->"


@dataclass(frozen=True, slots=True)
class Section:
    """What one benchmark measured."""

    name: str
    meaning: str
    figures: tuple[Figure, ...]


def write(page: Path, machine: Mapping[str, str], sections: Iterable[Section]) -> None:
    """Replace the figures in the page, and its charts. Raises ValueError if it has no place for them."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{page} has no place for figures, which is between {BEGIN} and {END}")
    page.write_text(before + "\n".join([BEGIN, *_figures(machine, sections), END]) + after)
    draw(page)


def _figures(machine: Mapping[str, str], sections: Iterable[Section]) -> Iterator[str]:
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| measured | {datetime.now(UTC):%Y-%m-%d} |"
    yield from (f"| {name} | {value} |" for name, value in machine.items())
    for section in sections:
        yield ""
        yield f"## {section.name}"
        yield ""
        yield section.meaning
        yield ""
        yield from as_markdown(section.figures)
    yield ""
