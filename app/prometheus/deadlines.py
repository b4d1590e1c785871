"""Calls that end at a timeout, with two queries per window: all calls, and those with Envoy's response flag UT."""

from collections.abc import Collection, Mapping, Sequence

from app.core.insight.aftermath import Deadlines
from app.core.resources.hosts import canonical_host
from app.prometheus.client import Prometheus
from app.prometheus.traffic import HOST, REQUESTS, matchers_of, services_of

ENDED = 'response_flags=~"(.*,)?UT(,.*)?"'


def read_deadlines(
    prometheus: Prometheus,
    window: str,
    hosts: Collection[str],
    matchers: Sequence[str] = (),
    cluster_domains: Sequence[str] = (),
) -> Mapping[str, Deadlines]:
    """Read the figures of some canonical hosts over a window, such as 1h or 1d offset 7d; raises PrometheusError."""
    selected = (*matchers_of(matchers), services_of(cluster_domains))
    calls = _read(prometheus, window, hosts, selected)
    ended = _read(prometheus, window, hosts, (*selected, ENDED))
    return {host: Deadlines(number, ended.get(host, 0.0)) for host, number in calls.items()}


def _read(prometheus: Prometheus, window: str, hosts: Collection[str], matchers: Sequence[str]) -> Mapping[str, float]:
    duration, _, offset = window.partition(" ")
    query = f"sum by ({HOST}) (increase({REQUESTS}{{{','.join(matchers)}}}[{duration}] {offset}".rstrip() + "))"
    found: dict[str, float] = {}
    for sample in prometheus.query(query):
        host = canonical_host(sample.labels.get(HOST, ""))
        if host in hosts:
            found[host] = found.get(host, 0.0) + sample.value
    return found
