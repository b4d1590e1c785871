"""docs/performance.md: what is between its two markers is written by a run, never by hand."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.charts import draw
from tests.perf.figures import Figure, as_markdown

BEGIN, END = "<!-- figures: written by `python -m tests.perf --write` -->", "<!-- end of figures -->"


@dataclass(frozen=True, slots=True)
class Section:
    """What one benchmark measured, and on what: the machine is not as fast and not as quiet at each run."""

    name: str
    meaning: str
    machine: Mapping[str, str]
    figures: tuple[Figure, ...]


def write(page: Path, section: Section, order: Iterable[str]) -> None:
    """Replace the section of one benchmark, and the charts. `order` has the names of all benchmarks.

    Raises ValueError if the page has no place for figures.
    """
    before, _, rest = page.read_text().partition(BEGIN)
    figures, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{page} has no place for figures, which is between {BEGIN} and {END}")
    sections = dict(_sections(figures)) | {section.name: "\n".join(_lines(section))}
    written = [f"## {name}\n\n{sections[name]}\n" for name in order if name in sections]
    page.write_text(before + "\n".join([BEGIN, "", *written, END]) + after)
    draw(page)


def _sections(figures: str) -> Iterator[tuple[str, str]]:
    """The names and the texts of the sections that the page has."""
    for part in re.split(r"^## ", figures, flags=re.MULTILINE)[1:]:
        name, _, text = part.partition("\n")
        yield name, text.strip()


def _lines(section: Section) -> Iterator[str]:
    yield section.meaning
    yield ""
    measured = {"measured": f"{datetime.now(UTC):%Y-%m-%d}"} | dict(section.machine)
    yield "; ".join(f"{name}: {value}" for name, value in measured.items()) + "."
    yield ""
    yield from as_markdown(section.figures)
