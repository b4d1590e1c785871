"""The DNS load: the queries that the proxies of a mesh send, before and after entries become DNS.

Envoy resolves each cluster separately and repeatedly, even without calls (Istio: "Understanding DNS"). istiod creates
a cluster for each port of a host. So a host costs its ports, times the proxies that know it, divided by the TTL.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from app.core.resources.quantities import rate
from app.core.resources.records import Record
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.resources.sidecars import ANY, Group
from app.core.routes.candidates import PUBLIC, age, seen_by
from app.core.rules.findings import Finding, Severity
from app.core.rules.traffic_catalogue import DNS_LOAD

PERIODIC = frozenset({"DNS", "DNS_ROUND_ROBIN"})
"""The resolutions with periodic queries; DYNAMIC_DNS sends a query at a request."""
HELPS = (
    "exportTo or a Sidecar resource that leave out proxies that never call the host; a longer TTL; a DNS cache on each "
    "node; a waypoint, which sends one query for all"
)


class EntryLoad(Record):
    """The cost of one entry under an enforced policy: its clusters, the proxies that know them, queries per second."""

    key: Key
    clusters: int
    proxies: int
    queries: float
    new: bool
    """Whether it is not resolved now."""


class DnsLoad(Record):
    """Queries per second, now and under an enforced policy; entries by their cost, the most expensive first."""

    ttl: float
    proxies: int
    before: float
    after: float
    entries: tuple[EntryLoad, ...] = ()

    @property
    def sentence(self) -> str:
        """The load in one sentence."""
        return (
            f"{self.proxies:,} proxies and a TTL of {self.ttl:g} s: {rate(self.before)} DNS queries a second now, "
            f"{rate(self.after)} once the policy is enforced"
        )

    def findings(self, most: int | None) -> Mapping[Key, Finding]:
        """Return a finding for each of the most expensive entries, until the load without them is within the limit."""
        found, left = dict[Key, Finding](), self.after
        for load in self.entries:
            if most is None or left <= most:
                break
            message = (
                f"costs {rate(load.queries)} of {rate(self.after)} DNS queries a second ({_told(load.clusters)} on "
                f"{load.proxies:,} proxies, TTL {self.ttl:g} s); the policy's limit is {most}"
            )
            found[load.key] = Finding(DNS_LOAD, Severity.WARNING, "spec.resolution", message)
            left -= load.queries
        return found


def _told(number: int) -> str:
    """Count clusters in a sentence."""
    return "1 cluster" if number == 1 else f"{number} clusters"


@dataclass(slots=True)
class _Cluster:
    """A name that is resolved for one port of a host, and the proxies that know it."""

    entry: ServiceEntry
    audience: set[str] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=set)
    names: int = 1


def dns_load(pairs: Iterable[tuple[ServiceEntry, ServiceEntry]], groups: Iterable[Group], ttl: float) -> DnsLoad:
    """Count the queries for entries, each as it is stored and as it would be; `ttl` in seconds."""
    both, groups = sorted(pairs, key=lambda pair: age(pair[0])), tuple(groups)
    counted = _Proxies(groups)
    before = sum(number for _, number in _asked(_clusters(pair_entry for pair_entry, _ in both), counted))
    resolved = {pair_entry.key for pair_entry, _ in both if pair_entry.resolution in PERIODIC}
    costs, sizes, known = Counter[Key](), Counter[Key](), Counter[Key]()
    for cluster, number in _asked(_clusters(pair_entry for _, pair_entry in both), counted):
        key = cluster.entry.key
        costs[key] += number
        sizes[key] += cluster.names
        known[key] = max(known[key], number // max(1, cluster.names))
    entries = (EntryLoad(key, sizes[key], known[key], costs[key] / ttl, key not in resolved) for key in costs)
    ordered = tuple(sorted(entries, key=lambda load: (-load.queries, str(load.key))))
    return DnsLoad(ttl, counted.total, before / ttl, costs.total() / ttl, ordered)


class _Proxies:
    """The number of proxies that know a cluster."""

    def __init__(self, groups: tuple[Group, ...]) -> None:
        self.total = sum(group.proxies for group in groups)
        self._plain, self._limited = Counter[str](), list[Group]()
        for group in groups:
            if group.sidecar and group.sidecar.imports is not None:
                self._limited.append(group)
            else:
                self._plain[group.namespace] += group.proxies
        self._everywhere = self._plain.total()

    def knowing(self, cluster: _Cluster, host: str) -> int:
        if PUBLIC in cluster.audience:
            number = self._everywhere
        else:
            number = sum(self._plain[name] for name in {*cluster.audience, ANY})
        return number + sum(group.proxies for group in self._limited if _imports(group, cluster, host))


def _imports(group: Group, cluster: _Cluster, host: str) -> bool:
    seen = PUBLIC in cluster.audience or group.namespace in cluster.audience
    return seen and group.sidecar is not None and any(group.sidecar.takes(name, host) for name in cluster.namespaces)


def _clusters(entries: Iterable[ServiceEntry]) -> Mapping[tuple[str, int], _Cluster]:
    """Collect the clusters that are resolved; a proxy has one for each host and port, even of several entries."""
    found: dict[tuple[str, int], _Cluster] = {}
    for entry in entries:
        if entry.resolution not in PERIODIC or entry.terminating:
            continue
        names = _names(entry)
        for host in (host.canonical for host in entry.hosts):
            for port in entry.ports:
                cluster = found.setdefault((host, port.number), _Cluster(entry, names=names))
                cluster.audience |= seen_by(entry)
                cluster.namespaces.add(entry.key.namespace)
    return found


def _names(entry: ServiceEntry) -> int:
    """Count the names that a cluster of the entry resolves: those of its endpoints, or the host itself."""
    return sum(map(_is_name, entry.endpoints)) if entry.endpoints else 1


def _is_name(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return bool(address)
    return False


def _asked(clusters: Mapping[tuple[str, int], _Cluster], proxies: _Proxies) -> Iterator[tuple[_Cluster, int]]:
    """Yield the clusters with the number of queries of all proxies in one TTL."""
    for (host, _), cluster in clusters.items():
        yield cluster, proxies.knowing(cluster, host) * cluster.names
