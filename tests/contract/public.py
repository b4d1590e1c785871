"""Everything that others rely on by name: flags, codes, metrics, values of the chart, JSON keys, exit codes."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml
from click.testing import CliRunner, Result

from app.cli import cli
from app.core.event_catalogue import CATALOGUE as EVENTS
from app.core.rules.catalogue import CATALOGUE
from app.reference import fields
from app.telemetry.metrics import ControllerMetrics, WebhookMetrics

VALUES = Path(__file__).parents[2] / "charts/serviceentry-guard/values.yaml"
ENTRY = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: team}
spec:
  hosts: [api.example.com]
  location: MESH_EXTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
  resolution: NONE
"""


def contract() -> dict[str, list[str]]:
    """Return everything that others rely on by name, section by section."""
    return {
        "flags": sorted(_flags(cli, "")),
        "findings": sorted(f"{rule.code} {rule.name}" for rule in CATALOGUE.values()),
        "metrics": sorted(_metrics()),
        "chart values": sorted(_paths(yaml.safe_load(VALUES.read_text()))),
        "policy fields": sorted(_policy_fields(fields())),
        "event reasons": sorted(reason.name for reason in EVENTS),
        "JSON keys": sorted(set(_keys(json.loads(_review("--output", "json").stdout)))),
        "exit codes": _exit_codes(),
    }


def _flags(group: click.Group, prefix: str) -> Iterator[str]:
    for name in group.commands:
        command = group.commands[name]
        if isinstance(command, click.Group):
            yield from _flags(command, f"{prefix}{name} ")
            continue
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield from (f"{prefix}{name} {flag}" for flag in (*parameter.opts, *parameter.secondary_opts))


def _metrics() -> Iterator[str]:
    for server, metrics in (("webhook", WebhookMetrics()), ("controller", ControllerMetrics())):
        yield from (f"{server} {family.type} {family.name}" for family in metrics.registry.collect())


def _paths(values: Any, path: str = "") -> Iterator[str]:
    if isinstance(values, dict) and values:
        for name, value in values.items():
            yield from _paths(value, f"{path}.{name}" if path else name)
    else:
        yield path


def _policy_fields(found: Iterable[Any]) -> Iterator[str]:
    for field in found:
        yield ".".join(map(str, field.path))
        yield from _policy_fields(field.fields)


def _keys(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}" if path else name
            yield from _keys(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner, f"{path}[]")


def _review(*arguments: str, stdin: str = ENTRY) -> Result:
    return CliRunner().invoke(cli, ["review", *arguments, "-"], input=stdin)


def _exit_codes() -> list[str]:
    compliant = ENTRY.replace("NONE", "DNS")
    results = {"compliant": _review(stdin=compliant), "changed": _review(), "unreadable": _review(stdin="a: [")}
    return [f"review {name}: {result.exit_code}" for name, result in results.items()]
