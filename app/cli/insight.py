"""Flags about traffic, and the figures that they add to the verdicts of `audit`."""

import enum
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.flags import FILE, AtLeast, Decorator, choice, flag, together
from app.cli.terminal import fail, tell
from app.core.insight.calls import UNITS, Window
from app.core.insight.cluster import Usage
from app.core.insight.dns_load import DnsLoad, dns_load
from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import ServiceEntry
from app.core.resources.sidecars import Group

if TYPE_CHECKING:
    from app.core.insight.calls import Traffic


class Suggest(enum.Enum):
    """The kind of suggestion: annotations of ServiceEntries, or settings of their namespaces."""

    ANNOTATIONS = "annotations"
    POLICY = "policy"


class WindowText(click.ParamType[Window]):
    """A number and a unit as Prometheus writes them, such as 7d."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Window:  # noqa: ANN401
        """Return the window."""
        if isinstance(value, Window):
            return value
        if not re.fullmatch(rf"[1-9][0-9]{{0,4}}[{''.join(UNITS)}]", value):
            self.fail(f"{value!r} is not a duration such as 30m, 12h or 7d.", param, ctx)
        return Window(value)


class Moment(click.ParamType[float]):
    """A moment in UTC as the API server writes it."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the seconds since the epoch."""
        if isinstance(value, float):
            return value
        try:
            return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2027-03-31T12:00:00Z.", param, ctx)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The flags about Prometheus; without an address there are no queries."""

    prometheus: str | None
    window: Window
    until: float | None
    matchers: tuple[str, ...]
    token_file: Path | None
    ca_file: Path | None
    timeout: float


def prometheus_flags() -> Decorator:
    """Declare where the metrics of the mesh are, and which of them count."""
    return together(
        flag("--prometheus", "Address of a Prometheus with Istio's metrics, such as http://host:9090.", metavar="URL"),
        flag("--metrics-window", "Time that figures are from.", type=WindowText(), default="7d"),
        flag(
            "--metrics-until", "End of that time (UTC), such as 2027-03-31T12:00:00Z; now unless given.", type=Moment()
        ),
        flag(
            "--metrics-matcher",
            "Matcher for the labels of all series, such as 'cluster=\"prod\"'. Repeat the flag for more. One for "
            'reporter replaces reporter="source".',
            metavar="MATCHER",
            multiple=True,
        ),
        flag("--metrics-timeout", "Seconds that one query may take.", type=AtLeast(0.1), default=60.0),
        flag("--prometheus-token-file", "File with the bearer token for Prometheus.", type=FILE),
        flag("--prometheus-ca-file", "File with the CA certificates for Prometheus, in PEM.", type=FILE),
    )


def suggest() -> Decorator:
    """Declare the flag that replaces the report by suggestions."""
    text = "Instead of the report, print settings that would keep 99.9 % of the calls, as YAML; needs --prometheus."
    return choice("--suggest", text, Suggest)


def asked(given: dict[str, Any]) -> Asked:
    """Remove the flags about Prometheus from a command's parameters."""
    return Asked(
        prometheus=given.pop("prometheus"),
        window=given.pop("metrics_window"),
        until=given.pop("metrics_until"),
        matchers=given.pop("metrics_matcher"),
        token_file=given.pop("prometheus_token_file"),
        ca_file=given.pop("prometheus_ca_file"),
        timeout=given.pop("metrics_timeout"),
    )


def read_usage(
    given: Asked, policy: GuardPolicy, hosts: Iterable[str], forecasts: Callable[["Traffic"], Any], *, needed: bool
) -> Usage | None:
    """Read the traffic of some hosts; None, and a line on standard error, where it cannot be had and is not needed."""
    if not given.prometheus:
        return None
    from app.prometheus.client import Endpoint, Prometheus, PrometheusError
    from app.prometheus.traffic import Question, read_traffic

    endpoint = Endpoint(url=given.prometheus, token_file=given.token_file, ca_file=given.ca_file, timeout=given.timeout)
    question = Question(
        window=given.window,
        until=given.until,
        matchers=given.matchers,
        cluster_domains=policy.scope.cluster_domains,
    )
    try:
        traffic = read_traffic(Prometheus(endpoint), question, frozenset(hosts))
    except PrometheusError as error:
        if needed:
            fail(f"there are no figures of traffic: {error}")
        tell(f"there are no figures of traffic: {error}")
        return None
    return Usage(given.window, forecasts(traffic), tuple(traffic.elsewhere))


def read_dns(
    pairs: Iterable[tuple[ServiceEntry, ServiceEntry]], groups: tuple[Group, ...], ttl: float
) -> DnsLoad | None:
    """Count the DNS queries, where proxies were given."""
    return dns_load(pairs, groups, ttl) if groups else None
