"""docs/recovery.md: what is between its two markers is written by a run, never by hand."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from tests.charts import draw
from tests.mesh.advice import ADVICE, Advice
from tests.mesh.trial import Measured

PAGE = Path("docs/recovery.md")
BEGIN, END = "<!-- measured: written by `python -m tests.mesh --write` -->", "<!-- end of what was measured -->"
ADVICE_BEGIN = "<!-- advice: written by `python -m tests.mesh --write` -->"
ADVICE_END = "<!-- end of the advice -->"
HEAD = "| what happens | guard | errors | message | slowest | |\n|---|---|---|---|---|---|"
ADVICE_HEAD = "| symptom | setting | measured without it | with it | what it costs |\n|---|---|---|---|---|"


def as_text(measured: Iterable[Measured]) -> Iterator[str]:
    """The table for a terminal."""
    for title, lines in groupby(measured, key=lambda one: one.scenario):
        yield f"\n{title}"
        for one in lines:
            figures = f"{_errors(one):>12}  {one.slowest:6.2f} s  {one.message[:100]}"
            yield f"  {one.circumstances[:90]:<90} {one.arm[:45]:<45} {figures}  {one.remark} {dict(one.facts) or ''}"


def write(page: Path, machine: Mapping[str, str], measured: list[Measured]) -> None:
    """Replace what is measured in the page, and its chart. Raises ValueError if it has no place for it."""
    advised = _replaced(page.read_text(), ADVICE_BEGIN, ADVICE_END, _advised(measured))
    page.write_text(_replaced(advised, BEGIN, END, _measured(machine, measured)))
    draw(page)


def _replaced(text: str, begin: str, end: str, lines: Iterable[str]) -> str:
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the page has no place for a table, which is between {begin} and {end}")
    return before + "\n".join([begin, *lines, end]) + after


def _measured(machine: Mapping[str, str], measured: list[Measured]) -> Iterator[str]:
    yield from ("", "| | |", "|---|---|", f"| measured | {datetime.now(UTC):%Y-%m-%d} |")
    yield from (f"| {name} | {value} |" for name, value in machine.items())
    for title, lines in groupby(measured, key=lambda one: one.scenario):
        yield from ("", f"## {title}", "", HEAD)
        yield from map(_line, lines)
    yield ""


def _advised(measured: list[Measured]) -> Iterator[str]:
    yield from ("", ADVICE_HEAD)
    yield from (_advice(each, measured) for each in ADVICE)
    yield ""


def _line(one: Measured) -> str:
    message = f"`{one.message}`" if one.message else ""
    cells = (one.circumstances, one.arm, _errors(one), message, f"{one.slowest:.2f} s", one.remark)
    return f"| {' | '.join(cells)} |"


def _advice(advice: Advice, measured: list[Measured]) -> str:
    without, having = (advice.figure(arm, measured) for arm in (advice.without, advice.having))
    figures = (one.remark or f"{_errors(one)} failed, slowest {one.slowest:.1f} s" for one in (without, having))
    return f"| {' | '.join((advice.symptom, advice.setting, *figures, advice.cost))} |"


def _errors(one: Measured) -> str:
    return f"{one.errors} of {one.requests}"
