"""What the chart brings for those who watch the guard: alerts, a dashboard, and the series that these ask for."""

import json
import re
from functools import cache
from typing import Any

import yaml

from tools.reference.chart import CHART
from tools.reference.metrics import both

ALERTS = CHART / "files" / "alerts.yaml"
DASHBOARD = CHART / "files" / "dashboard.json"
SELECTOR = re.compile(
    r"\b((?:controller_runtime|leader_election|process|rest_client|serviceentry_guard|workqueue)_\w+|up\b)(\{[^}]*\})?"
)
FOREIGN = frozenset({"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "up"})
"""What the Prometheus client says of any process, and Prometheus of any target."""


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """Every alerting rule, by its name."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@cache
def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana loads it."""
    return dict(json.loads(DASHBOARD.read_text()))


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def variables() -> dict[str, dict[str, Any]]:
    """The variables of the dashboard, by name."""
    return {one["name"]: one for one in dashboard()["templating"]["list"]}


@cache
def known_series() -> frozenset[str]:
    """The names of all series that the guard exposes."""
    return FOREIGN | {series for metrics in both() for one in metrics.values() for series in one.series}


def names(query: str) -> frozenset[str]:
    """The names of the series that a query asks for."""
    return frozenset(found[1] for found in SELECTOR.finditer(query))


def selectors(query: str) -> frozenset[str]:
    """The series that a query asks for, with their matchers."""
    return frozenset(found[0] for found in SELECTOR.finditer(query))
