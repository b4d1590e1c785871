"""Traffic from Istio's standard metrics, in seven queries: calls, failures, durations, connections, calls elsewhere.

Names and labels are those of Istio's metrics reference. All queries are evaluated at the moment of the first one, so
that shares are shares of the same calls. Each selector excludes names of Kubernetes Services: in most meshes they are
most of the series, and nothing is emitted for them.
"""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from app.core.insight.calls import Elsewhere, Ending, Figures, Traffic, Window, ending
from app.prometheus.client import Prometheus, PrometheusError, Sample

REQUESTS = "istio_requests_total"
DURATIONS = "istio_request_duration_milliseconds_bucket"
OPENED, CLOSED = "istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total"
HOST, CLUSTER, CALLER = "destination_service", "destination_service_name", "source_workload_namespace"
PASSTHROUGH, BLACKHOLE = "PassthroughCluster", "BlackHoleCluster"
"""The names of the destination service for calls to unknown hosts."""
ELSEWHERE = 200
"""Maximum number of hosts without an entry; those with most calls come first."""
MATCHER = re.compile(r'[a-zA-Z_][a-zA-Z0-9_]*(?:=~|!~|!=|=)"(?:[^"\\\n]|\\.)*"')
"""A matcher of labels in PromQL."""
_REPORTER = 'reporter="source"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The query settings: a window and its end (None: now), matchers of series, and domains of Services."""

    window: Window
    until: float | None = None
    matchers: Sequence[str] = ()
    cluster_domains: Sequence[str] = ()


def read_traffic(prometheus: Prometheus, question: Question, hosts: Collection[str]) -> Traffic:
    """Read the metrics of some canonical hosts; raises PrometheusError, also if there are no metrics of Istio."""
    return _Reading(prometheus, question, Traffic(question.window, hosts)).read()


class _Reading:
    """Runs the queries once, and fills one Traffic."""

    def __init__(self, prometheus: Prometheus, question: Question, traffic: Traffic) -> None:
        self._prometheus = prometheus
        self._question = question
        self._traffic = traffic
        self._at = question.until
        self._selected = matchers_of(question.matchers)

    def read(self) -> Traffic:
        self._calls()
        self._failures()
        self._durations()
        self._connections()
        self._elsewhere()
        return self._traffic

    def _calls(self) -> None:
        at: float | None = None
        for sample in self._sum(REQUESTS, HOST, CALLER):
            at = sample.time
            if figures := self._figures(sample):
                figures.calls += sample.value
        if at is None:
            self._insist()
        else:
            self._at = at

    def _insist(self) -> None:
        """Raise an error if there are no calls at all because Prometheus does not have the metrics of the mesh."""
        known = f'count(last_over_time({{__name__=~"{REQUESTS}|{OPENED}"}}[{self._question.window.text}]))'
        if not any(True for _ in self._prometheus.query(known, self._at)):
            window = self._question.window.words
            raise PrometheusError(f"Prometheus has no {REQUESTS} in {window}; does it scrape the sidecars of the mesh?")

    def _failures(self) -> None:
        flagged = self._sum(REQUESTS, HOST, CALLER, "response_flags", more='response_flags!~"-|"')
        for sample in flagged:
            self._fail(sample, ending(sample.labels.get("response_flags", "")))
        for sample in self._sum(REQUESTS, HOST, CALLER, more='response_flags=~"-|",response_code=~"5.."'):
            self._fail(sample, Ending.ANSWERED)

    def _fail(self, sample: Sample, how: Ending | None) -> None:
        figures = self._figures(sample)
        if figures and how and sample.value > 0:
            figures.endings[how] = figures.endings.get(how, 0.0) + sample.value

    def _durations(self) -> None:
        for sample in self._sum(DURATIONS, HOST, CALLER, "le"):
            figures, bound = self._figures(sample), _bound(sample)
            if figures and bound is not None:
                figures.put(self._traffic.bound(bound), sample.value)

    def _connections(self) -> None:
        for sample in self._sum(OPENED, HOST, CALLER):
            if figures := self._figures(sample):
                figures.connections += sample.value

    def _elsewhere(self) -> None:
        """Read calls to hosts without an entry. A blocked connection is counted only when it is closed."""
        labels = (HOST, CLUSTER, CALLER)
        calls = self._expression(REQUESTS, labels, f'{CLUSTER}=~"{PASSTHROUGH}|{BLACKHOLE}"', services=True)
        opened = self._expression(OPENED, labels, f'{CLUSTER}="{PASSTHROUGH}"', services=True)
        blocked = self._expression(CLOSED, labels, f'{CLUSTER}="{BLACKHOLE}"', services=True)
        for sample in self._query(f"topk({ELSEWHERE}, {calls})"):
            self._note(sample, calls=sample.value)
        for sample in self._query(f"topk({ELSEWHERE}, {opened} or {blocked})"):
            self._note(sample, connections=sample.value)

    def _note(self, sample: Sample, calls: float = 0.0, connections: float = 0.0) -> None:
        if sample.value > 0:
            host, cluster = sample.labels.get(HOST, "unknown"), sample.labels.get(CLUSTER, "")
            found = Elsewhere(host, cluster, _caller(sample), calls, connections)
            self._traffic.elsewhere.append(found)

    def _figures(self, sample: Sample) -> Figures | None:
        return self._traffic.at(sample.labels.get(HOST, ""), _caller(sample))

    def _sum(self, metric: str, *labels: str, more: str = "") -> Iterator[Sample]:
        known = f'{CLUSTER}!~"{PASSTHROUGH}|{BLACKHOLE}"'
        return self._query(self._expression(metric, labels, ",".join(filter(None, (known, more)))))

    def _query(self, expression: str) -> Iterator[Sample]:
        return (sample for sample in self._prometheus.query(expression, self._at) if math.isfinite(sample.value))

    def _expression(self, metric: str, labels: Sequence[str], matchers: str, *, services: bool = False) -> str:
        left_out = () if services else (services_of(self._question.cluster_domains),)
        selector = ",".join(filter(None, (*self._selected, *left_out, matchers)))
        return f"sum by ({','.join(labels)}) (increase({metric}{{{selector}}}[{self._question.window.text}]))"


def _caller(sample: Sample) -> str:
    return sample.labels.get(CALLER) or "unknown"


def _bound(sample: Sample) -> float | None:
    """Return the bound of a bucket in milliseconds; None if the series has none."""
    try:
        return float(sample.labels["le"])
    except (KeyError, ValueError):
        return None


def matchers_of(own: Sequence[str]) -> tuple[str, ...]:
    """Return the matchers of every selector; a given matcher for the reporter replaces the default one."""
    for matcher in own:
        if not MATCHER.fullmatch(matcher):
            raise PrometheusError(f'{matcher!r} is not a matcher of labels such as cluster="prod"')
    return tuple(own) if any(re.match(r"reporter[=!]", matcher) for matcher in own) else (_REPORTER, *own)


def services_of(domains: Sequence[str]) -> str:
    """Return the matcher that excludes names of Kubernetes Services."""
    ends = "|".join(re.escape(f".{domain}").replace("\\", "\\\\") for domain in domains)
    return f'{HOST}!~".+\\\\.svc({ends})?"' if ends else f'{HOST}!~".+\\\\.svc"'
