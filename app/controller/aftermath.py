"""The leader's check of its VirtualServices: hosts whose calls end at a timeout more often than before.

It is opt-in. Every ten minutes it compares the last hour with the day that ended a week ago, for hosts whose
VirtualService is between an hour and a week old, and so is younger than that day. If Prometheus does not respond,
nothing changes, and one log line says so.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from app.controller.inventory import Inventory
from app.controller.leadership import Leadership
from app.controller.worker import LeaderTask
from app.core.insight.aftermath import Deadlines, cuts
from app.core.resources.service_entry import ServiceEntry
from app.core.rules.findings import Finding
from app.policyfile import PolicyFile
from app.prometheus.client import Endpoint, Prometheus, PrometheusError
from app.prometheus.deadlines import read_deadlines
from app.settings import ControllerSettings

log = logging.getLogger(__name__)

LOOK_SECONDS = 600.0
NOW, BEFORE = "1h", "1d offset 7d"
YOUNGEST, OLDEST = timedelta(hours=1), timedelta(days=7)

Read = Callable[[str, frozenset[str], tuple[str, ...]], Mapping[str, Deadlines]]
"""Reads the figures of a window, for hosts, with the DNS domains of the cluster; raises PrometheusError."""


class Aftermath:
    """Knows the hosts whose calls are cut, by namespace; safe for use from several threads."""

    def __init__(
        self,
        inventory: Inventory,
        policy: PolicyFile,
        touch: Callable[[str], None],
        read: Read,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`touch` is called for each namespace whose findings have changed; `read` returns metrics."""
        self._inventory = inventory
        self._policy = policy
        self._touch = touch
        self._read = read
        self._now = now
        self._lock = threading.Lock()
        self._found: dict[str, dict[str, Finding]] = {}
        self._silent = False

    def check(self) -> float:
        """Check all hosts once, and return the seconds until the next check."""
        hosts = self._young()
        try:
            found = self._compare(hosts)
        except PrometheusError as error:
            log.log(
                logging.DEBUG if self._silent else logging.WARNING,
                "cannot compare calls before and after the VirtualServices: %s",
                error,
            )
            self._silent = True
            return LOOK_SECONDS
        self._silent = False
        self._take({namespace: _only(found, names) for namespace, names in hosts.items()})
        return LOOK_SECONDS

    def findings(self, entry: ServiceEntry) -> tuple[Finding, ...]:
        """Return the findings on the hosts of an entry."""
        with self._lock:
            found = self._found.get(entry.key.namespace, {})
            return tuple(found[host.canonical] for host in entry.hosts if host.canonical in found)

    def counts(self) -> Mapping[tuple[str, ...], int]:
        """Return how many hosts there are, by namespace."""
        with self._lock:
            return Counter({(namespace,): len(found) for namespace, found in self._found.items()})

    def _compare(self, hosts: Mapping[str, set[str]]) -> Mapping[str, Finding]:
        every = frozenset(host for names in hosts.values() for host in names)
        if not every:
            return {}
        domains = self._policy.current.scope.cluster_domains
        return cuts(every, self._read(BEFORE, every, domains), self._read(NOW, every, domains))

    def _take(self, found: Mapping[str, dict[str, Finding]]) -> None:
        with self._lock:
            before, self._found = self._found, {name: findings for name, findings in found.items() if findings}
            news = [name for name in {*before, *self._found} if before.get(name) != self._found.get(name)]
        for namespace in news:
            self._touch(namespace)
        for namespace, findings in self._found.items():
            if namespace in news:
                for finding in findings.values():
                    log.warning("namespace %s: %s", namespace, finding.sentence)

    def _young(self) -> Mapping[str, set[str]]:
        """Return the hosts whose VirtualService is young, by namespace."""
        begin, end = (_stamp(self._now() - age) for age in (OLDEST, YOUNGEST))
        found: dict[str, set[str]] = {}
        for key, host, created in self._inventory.routed():
            if begin < created <= end:
                found.setdefault(key.namespace, set()).add(host)
        return found


def aftermath_task(aftermath: Aftermath) -> Callable[[object, Leadership], LeaderTask]:
    """Return a function that creates the leader's task."""

    def make(_client: object, leadership: Leadership) -> LeaderTask:
        return LeaderTask("aftermath", aftermath.check, leadership)

    return make


def reader(settings: ControllerSettings) -> Read:
    """Return a reader of Prometheus metrics. It reads its token and CA files at each use, so that they may change."""

    def read(window: str, hosts: frozenset[str], domains: tuple[str, ...]) -> Mapping[str, Deadlines]:
        endpoint = Endpoint(
            url=settings.prometheus or "",
            token_file=settings.prometheus_token_file,
            ca_file=settings.prometheus_ca_file,
        )
        return read_deadlines(Prometheus(endpoint), window, hosts, settings.metrics_matcher, domains)

    return read


def _only(found: Mapping[str, Finding], hosts: set[str]) -> dict[str, Finding]:
    return {host: found[host] for host in sorted(hosts) if host in found}


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
