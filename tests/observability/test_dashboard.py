"""The dashboard as a document: what Grafana needs to load it, and to show any of several installations."""

import re
from itertools import combinations
from typing import Any

import pytest

from tests.observability.watching import dashboard, known_series, names, panels, selectors, variables
from tools.reference.metrics import both

every_panel = pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
NOT_SHOWN = frozenset({"serviceentry_guard_certificates_issued_total", "workqueue_work_duration_seconds"})
"""Made a few times a year; the same as the duration of reconciliations."""


def queries() -> list[str]:
    """Every query of every panel."""
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two places on the grid share a cell."""
    apart = (one["x"] + one["w"] <= other["x"], other["x"] + other["w"] <= one["x"])
    above = (one["y"] + one["h"] <= other["y"], other["y"] + other["h"] <= one["y"])
    return not any((*apart, *above))


def test_every_panel_has_an_id_and_a_place_of_its_own() -> None:
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    places = [panel["gridPos"] for panel in everything]
    assert not any(overlap(one, other) for one, other in combinations(places, 2))
    assert all(place["x"] + place["w"] <= 24 for place in places)


@every_panel
def test_a_panel_says_what_it_shows_and_asks_the_chosen_data_source(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [
        chosen for _ in (panel, *panel["targets"])
    ]


@every_panel
def test_a_panel_asks_for_series_that_the_guard_exposes_of_the_chosen_installation(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert names(target["expr"])
        assert names(target["expr"]) <= known_series()
        for selector in selectors(target["expr"]):
            assert 'job=~"$job"' in selector
            assert 'namespace=~"$namespace"' in selector or 'namespace=~"$entries"' in selector


def test_every_variable_is_used_and_every_one_that_is_used_is_there() -> None:
    text = " ".join([*queries(), *(str(one.get("definition")) for one in variables().values()), "$datasource"])
    assert set(re.findall(r"\$([a-z]+)", text)) == variables().keys()


def test_every_metric_is_on_the_dashboard() -> None:
    asked = {name for query in queries() for name in names(query)}
    metrics = {name: one for side in both() for name, one in side.items()}
    assert {name for name, one in metrics.items() if not one.series & asked} == NOT_SHOWN
