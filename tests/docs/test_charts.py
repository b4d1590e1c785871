"""The charts of the pages say what their tables say."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.charts import ASSETS, CHARTS, DOCS, create, drawn, memory, recovery, story, svg

RECOVERY = """
## 1 Connections that end

| what happens | guard | errors | message | slowest | |
|---|---|---|---|---|---|
| cut | guard off | 100 of 500 | `503 <x>` | 0.03 s |  |
| cut | the `recipe` | 0 of 500 |  | 0.04 s |  |
| alone | the recipe | 3 of 500 |  | 0.04 s |  |

## 8 A cluster

| what happens | guard | errors | message | slowest | |
|---|---|---|---|---|---|
| cut | guard off | 7 of 9 |  | 0.03 s |  |
| cut | the recipe | 0 of 9 |  | 0.04 s |  |
"""
PERFORMANCE = """
## create

| figure | measured | aim |
|---|---:|---|
| an entry, without a webhook, median | 5.00 ms |  |
| an entry, with ours, median | 10.0 ms |  |
| an entry, added at the median by ours | 4.55 ms | ≤ 3 ms: MISSED |

## memory

| figure | measured | aim |
|---|---:|---|
| webhook, peak | 54 MiB | ≤ 108 MiB: met |
| controller | 27 MiB |  |
"""


@pytest.mark.parametrize("name", [*CHARTS, "dashboard.svg"])
def test_each_chart_is_as_its_table_has_it(name: str) -> None:
    assert (DOCS / ASSETS / name).read_text() == drawn()[name], "draw the charts anew with: python -m tests.charts"


PICTURES = {name: page for name, (page, _) in CHARTS.items()} | {
    "dashboard.svg": "metrics.md",
    "before-after.svg": "index.md",
    "how-it-fails.svg": "how-it-works.md",
    "request-path.svg": "how-it-works.md",
}


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_on_its_page_and_has_a_title_and_a_description(name: str) -> None:
    page = PICTURES[name]
    assert f"]({ASSETS}/{name})" in (DOCS / page).read_text()
    root = ElementTree.fromstring((DOCS / ASSETS / name).read_text())  # noqa: S314 - a file of ours
    assert [child.tag.rpartition("}")[2] for child in root][:2] == ["title", "desc"]
    assert "prefers-color-scheme: dark" in (DOCS / ASSETS / name).read_text()


def test_failures_are_compared_where_there_is_something_to_compare() -> None:
    ((heading, bars),) = recovery(RECOVERY).groups
    assert heading == "Connections that end: cut"
    assert [(bar.label, bar.share, bar.figure, bar.colour) for bar in bars] == [
        ("guard off", 0.2, "100 of 500", "off"),
        ("the recipe", 0.0, "0 of 500", "plain"),
    ]


def test_calls_of_the_story_are_compared() -> None:
    table = """
| what happens | failed without the guard | failed with it |
| --- | --- | --- |
| a connection is cut | 20 of 100 | 0 of 110 |
"""
    ((heading, bars),) = story(table).groups
    assert heading == "a connection is cut"
    assert [(bar.label, bar.share, bar.figure) for bar in bars] == [
        ("without the guard", 0.2, "20 of 100"),
        ("with the guard", 0.0, "0 of 110"),
    ]


def test_times_are_drawn_beside_each_other() -> None:
    ((heading, bars),) = create(PERFORMANCE).groups
    assert heading == "an entry, median"
    assert [(bar.label, bar.share) for bar in bars] == [("without a webhook", 0.5), ("with ours", 1.0)]


def test_memory_is_drawn_beside_its_aim() -> None:
    ((heading, bars),) = memory(PERFORMANCE).groups
    assert heading == "memory"
    assert [(bar.share, bar.aim) for bar in bars] == [(0.5, 1.0), (0.25, None)]


def test_text_of_a_table_is_escaped(tmp_path: Path) -> None:
    file = tmp_path / "chart.svg"
    file.write_text(
        svg(recovery(RECOVERY.replace("the `recipe`", "a <b> & a label that is so very long that it has to be cut")))
    )
    ElementTree.parse(file)  # noqa: S314 - a file of ours
    assert "…" in file.read_text()
