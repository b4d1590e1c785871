"""The generated part of docs/metrics.md: every metric of both processes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Metric, ProcessCollector

from app.telemetry.metrics import ControllerMetrics, WebhookMetrics
from tools.reference.page import ROOT

DOCS = ROOT / "docs" / "metrics.md"
SUFFIXES = {"counter": "_total", "info": "_info"}
HEAD = "| metric | type | labels | |\n|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Documented:
    """One metric as the page has it; `buckets` are the upper bounds of a histogram."""

    name: str
    type: str
    text: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> frozenset[str]:
        """The names of its series, as they are exposed."""
        suffixes = ("_bucket", "_sum", "_count") if self.buckets else ("",)
        return frozenset(self.name + suffix for suffix in suffixes)


def documented(registry: CollectorRegistry) -> dict[str, Documented]:
    """Return what a registry has, by name."""
    found: dict[str, Documented] = {}
    for collector in registry._collector_to_names:
        if not isinstance(collector, ProcessCollector):
            for family in getattr(collector, "describe", collector.collect)():
                one = _documented(collector, family)
                found[one.name] = one
    return found


def both() -> tuple[dict[str, Documented], dict[str, Documented]]:
    """Return the metrics of the webhook and of the controller."""
    return documented(WebhookMetrics().registry), documented(ControllerMetrics().registry)


def reference() -> str:
    """Write the tables."""
    webhook, controller = both()
    shared = webhook.keys() & controller.keys()
    sections = {
        "Both processes": [one for name, one in webhook.items() if name in shared],
        "Webhook": [one for name, one in webhook.items() if name not in shared],
        "Controller": [one for name, one in controller.items() if name not in shared],
    }
    return "\n\n".join(part for name, rows in sections.items() for part in (f"## {name}", _table(rows))) + "\n"


def _documented(collector: Any, family: Metric) -> Documented:
    labels = getattr(collector, "_labelnames", getattr(collector, "labels", ()))
    buckets = getattr(collector, "buckets", tuple(getattr(collector, "_upper_bounds", ())[:-1]))
    suffix = SUFFIXES.get(family.type, "")
    if family.type == "info":
        labels = collector.collect()[0].samples[0].labels.keys()
    type_ = "gauge" if family.type == "info" else family.type
    return Documented(family.name + suffix, type_, family.documentation, tuple(labels), buckets)


def _table(rows: Iterable[Documented]) -> str:
    return "\n".join([HEAD, *(_row(row) for row in sorted(rows, key=lambda row: row.name))])


def _row(one: Documented) -> str:
    labels = ", ".join(f"`{label}`" for label in one.labels)
    return f"| `{one.name}` | {one.type} | {labels} | {' '.join(_text(one))} |"


def _text(one: Documented) -> Iterator[str]:
    yield one.text.replace("<", "&lt;").replace("|", "\\|")
    if one.buckets:
        yield f"Buckets: {', '.join(f'{bound:.10g}' for bound in one.buckets)}."
