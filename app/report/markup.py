"""Pieces of an HTML page: text that is safe in it, tables, and bars."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from app.core.resources.records import Record


class Cell(Record):
    """One cell of a table: HTML, and its sort key if that is not its text."""

    html: str
    key: str = ""


class Bar(Record):
    """A bar: a name, a share between 0 and 1, and the figure in words."""

    name: str
    share: float
    value: str


def text(value: object) -> str:
    """Return a value as text that is safe in HTML, also within an attribute."""
    return escape(str(value).encode(errors="replace").decode())


def items(lines: Iterable[str]) -> str:
    """Return lines of HTML as a list, "" if there are none."""
    found = "".join(f"<li>{line}</li>" for line in lines)
    return f"<ul>{found}</ul>" if found else ""


def yaml_block(label: str, manifest: str) -> str:
    """Return a manifest to be opened and copied."""
    return f'<details><summary>{text(label)}</summary><pre class="yaml">{text(manifest)}</pre></details>'


def table(heads: Sequence[tuple[str, str]], rows: Iterable[tuple[str, Sequence[Cell]]]) -> Iterator[str]:
    """Yield a table: headings, each with a class for its column, and rows, each with an outcome or ""."""
    yield '<table class="sortable"><thead><tr>'
    yield "".join(f'<th scope="col" class="{css}">{text(name)}</th>' for name, css in heads)
    yield "</tr></thead><tbody>\n"
    for outcome, cells in rows:
        named = f' data-outcome="{outcome}"' if outcome else ""
        yield f"<tr{named}>{''.join(map(_cell, heads, cells))}</tr>\n"
    yield "</tbody></table>\n"


def bars(found: Iterable[Bar]) -> Iterator[str]:
    """Yield bars, one below the other."""
    for bar in found:
        width = f"{100 * max(0.0, min(1.0, bar.share)):.2f}%"
        yield (
            f'<div class="bar"><span class="name">{text(bar.name)}</span>'
            f'<span class="track"><span style="width:{width}"></span></span>'
            f'<span class="value">{text(bar.value)}</span></div>\n'
        )


def _cell(head: tuple[str, str], cell: Cell) -> str:
    key = f' data-key="{text(cell.key)}"' if cell.key else ""
    return f'<td data-label="{text(head[0])}"{key}>{cell.html}</td>'
