"""The charts of the documentation, drawn from the tables of its pages: `python -m tests.charts` draws them anew.

Whatever writes a table calls `draw` afterwards, and a test compares: a chart never says what its table does not. Each
is an SVG with a ground of its own, light or dark as its reader has it, so that it can be read on either.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
ASSETS = "assets"
DASHBOARD = DOCS.parent / "charts/serviceentry-guard/files/dashboard.json"
WIDTH, LABEL, ROW, MARGIN = 820, 370, 22, 20
BAR = WIDTH - LABEL - 120
LONGEST = 50
"""Most characters of a label."""
MOST_KINDS = 2
"""Kinds of a failure that a chart shows: the table has all of them."""
FIRST_SECTIONS = 7
"""Sections of the recovery page about single failures; those after it are about clusters."""
STYLE = """
.ground { fill: #ffffff; stroke: #d5dbe4 } text { font: 13px system-ui, sans-serif; fill: #1c2330 }
.title { font-weight: 600; font-size: 15px } .soft { fill: #5a6474; font-size: 12px }
.off { fill: #b3261e } .on { fill: #1e7a3c } .plain { fill: #3c6fd4 } .track { fill: #eef1f5 } .aim { stroke: #1c2330 }
@media (prefers-color-scheme: dark) {
.ground { fill: #12161d; stroke: #37404d } text { fill: #e6eaf0 } .soft { fill: #a3adbb }
.off { fill: #ff8a80 } .on { fill: #6fd08c } .plain { fill: #7da2f2 } .track { fill: #232a35 } .aim { stroke: #e6eaf0 }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it is of, its length between 0 and 1, the figure, its colour, and where an aim is, if any."""

    label: str
    share: float
    figure: str
    colour: str = "plain"
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars in groups, each with a heading."""

    title: str
    meaning: str
    groups: Sequence[tuple[str, Sequence[Bar]]]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: the section that it is in, and its cells."""

    section: str
    cells: tuple[str, ...]


def rows(page: str) -> Iterator[Row]:
    """Yield the lines of all tables of a page, but not their heads."""
    section = ""
    for line in page.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("|") and not line.startswith("|---"):
            yield Row(section, tuple(cell.strip() for cell in line.strip("|").split("|")))


def recovery(page: str) -> Chart:
    """Draw the share of requests that fail, without the guard and with it, for each kind of failure."""
    lines = [one for one in rows(page) if re.match(rf"[1-{FIRST_SECTIONS}] ", one.section) and _errors(one)]
    groups = list[tuple[str, Sequence[Bar]]]()
    kinds = Counter[str]()
    for (section, what), found in groupby(lines, key=lambda one: (one.section, one.cells[0])):
        arms = list(found)
        compared = any(one.cells[1] == "guard off" for one in arms) and len(arms) > 1
        kinds[section] += compared
        if compared and kinds[section] <= MOST_KINDS:
            groups.append((f"{section.split(' ', 1)[1]}: {what}", [_arm(one) for one in arms]))
    return Chart("Requests that fail", "share of all requests; the tables below have the figures", groups)


def create(page: str) -> Chart:
    """Draw how long a create takes without a webhook, with one that does nothing, and with ours."""
    found = [(*one.cells[0].rsplit(", ", 2), one.cells[1]) for one in rows(page) if one.section == "create"]
    timed = [
        one for one in found if len(one) == 4 and one[2] in {"median", "99th percentile"} and one[3].endswith(" ms")
    ]
    groups = []
    for (what, which), lines in groupby(
        sorted(timed, key=lambda one: (one[0], one[2] != "median")), lambda one: (one[0], one[2])
    ):
        ours = list(lines)
        most = max(_number(one[3]) for one in timed)
        bars = [Bar(one[1], _number(one[3]) / most, one[3], "on" if "ours" in one[1] else "plain") for one in ours]
        groups.append((f"{what}, {which}", bars))
    return Chart("How long a create takes", "of a ServiceEntry, through the API server", groups)


def memory(page: str) -> Chart:
    """Draw how much memory each process takes at its peak, and how much it may take."""
    found = [one for one in rows(page) if one.cells[1:2] and one.cells[1].endswith(" MiB")]
    most = max(max(_number(one.cells[1]), _aim(one) or 0.0) for one in found)
    groups = [
        (
            section,
            [
                Bar(one.cells[0], _number(one.cells[1]) / most, one.cells[1], "plain", _part(_aim(one), most))
                for one in lines
            ],
        )
        for section, lines in groupby(found, key=lambda one: one.section)
    ]
    return Chart("Memory at the peak", "a line shows the aim, where there is one", groups)


def story(page: str) -> Chart:
    """Draw the share of an application's calls that fail, without the guard and with it."""
    found = [one.cells for one in rows(page) if re.fullmatch(r"\d+ of \d+", one.cells[-1])]
    groups = [
        (
            what,
            [
                Bar("without the guard", _share(before), before, "off"),
                Bar("with the guard", _share(after), after, "on"),
            ],
        )
        for what, before, after in found
    ]
    return Chart("Calls of an application that fail", "in a cluster with Istio; a sidecar sends them", groups)


CHARTS = {
    "story.svg": ("index.md", story),
    "recovery.svg": ("recovery.md", recovery),
    "create.svg": ("performance.md", create),
    "memory.svg": ("performance.md", memory),
}
"""Each chart, the page whose tables it shows, and what draws it."""


def draw(page: Path) -> None:
    """Draw the charts of one page anew."""
    for name, (source, chart) in CHARTS.items():
        if source == page.name:
            (page.parent / ASSETS / name).write_text(svg(chart(page.read_text())))


def drawn(docs: Path = DOCS) -> Mapping[str, str]:
    """Return all charts as the tables would have them."""
    charts = {name: svg(chart((docs / source).read_text())) for name, (source, chart) in CHARTS.items()}
    return {**charts, "dashboard.svg": dashboard(json.loads(DASHBOARD.read_text()))}


def svg(chart: Chart) -> str:
    """Write a chart as SVG."""
    lines, top = [], 3 * MARGIN + 16
    for heading, bars in chart.groups:
        lines.append(_text(MARGIN, top, heading, "soft"))
        top += 8
        for bar in bars:
            lines += _bar(bar, top)
            top += ROW
        top += ROW
    described = "; ".join(f"{heading}: {_told(bars)}" for heading, bars in chart.groups)
    return _document(chart.title, described, top, chart.meaning, lines)


def _document(title: str, described: str, height: int, meaning: str, lines: Iterable[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(described)}</desc>",
            f"<style>{STYLE}</style>",
            f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
            _text(MARGIN, MARGIN + 12, title, "title"),
            _text(MARGIN, MARGIN + 32, meaning, "soft"),
            *lines,
            "</svg>\n",
        ]
    )


def _told(bars: Iterable[Bar]) -> str:
    return ", ".join(f"{one.label} {one.figure}" for one in bars)


def _bar(bar: Bar, top: int) -> Iterator[str]:
    length = max(2.0, BAR * bar.share) if bar.share else 0.0
    yield _text(MARGIN, top + 14, _cut(bar.label, LONGEST))
    yield f'<rect class="track" x="{LABEL}" y="{top + 3}" width="{BAR}" height="14" rx="3"/>'
    if length:
        yield f'<rect class="{bar.colour}" x="{LABEL}" y="{top + 3}" width="{length:.1f}" height="14" rx="3"/>'
    if bar.aim is not None:
        place = LABEL + BAR * bar.aim
        yield f'<line class="aim" x1="{place:.1f}" x2="{place:.1f}" y1="{top + 1}" y2="{top + 19}" stroke-width="2"/>'
    yield _text(LABEL + BAR + 10, top + 14, bar.figure)


def _text(left: int, top: int, text: str, css: str = "") -> str:
    named = f' class="{css}"' if css else ""
    return f'<text{named} x="{left}" y="{top}">{escape(text)}</text>'


def _errors(one: Row) -> tuple[int, int] | None:
    matched = re.fullmatch(r"(\d+) of (\d+)", one.cells[2]) if len(one.cells) > 2 else None
    return (int(matched[1]), int(matched[2])) if matched else None


def _arm(one: Row) -> Bar:
    failed, requests = _errors(one) or (0, 1)
    colour = "off" if one.cells[1] == "guard off" else "plain"
    return Bar(one.cells[1].replace("`", ""), failed / requests, one.cells[2], colour)


def _share(figure: str) -> float:
    part, whole = figure.split(" of ")
    return int(part) / int(whole)


def _number(text: str) -> float:
    return float(text.split(maxsplit=1)[0].replace(",", ""))


def _aim(one: Row) -> float | None:
    matched = re.match(r"≤ ([\d,.]+)", one.cells[2]) if len(one.cells) > 2 else None
    return _number(matched[1]) if matched else None


def _part(aim: float | None, most: float) -> float | None:
    return None if aim is None else aim / most


def dashboard(document: Mapping[str, Any]) -> str:
    """Draw the panels of a Grafana dashboard as they are laid out."""
    column, line = (WIDTH - 2 * MARGIN) / 24, 10
    lines = list[str]()
    bottom = 0
    for panel in document["panels"]:
        place = panel["gridPos"]
        left, top = MARGIN + place["x"] * column, 3 * MARGIN + place["y"] * line
        bottom = max(bottom, top + place["h"] * line)
        if panel["type"] == "row":
            lines.append(_text(round(left), top + 4, panel["title"]))
            continue
        width, height = place["w"] * column - 6, place["h"] * line - 6
        lines.append(f'<rect class="track" x="{left:.0f}" y="{top}" width="{width:.0f}" height="{height}" rx="4"/>')
        lines.append(_text(round(left) + 8, top + 18, _cut(panel["title"], int(width / 7)), "soft"))
    titles = ", ".join(panel["title"] for panel in document["panels"])
    return _document(document["title"], titles, bottom + MARGIN, "panels as they are laid out", lines)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


if __name__ == "__main__":
    for each in sorted({source for source, _ in CHARTS.values()}):
        draw(DOCS / each)
    (DOCS / ASSETS / "dashboard.svg").write_text(drawn()["dashboard.svg"])
