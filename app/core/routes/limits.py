"""The limits of the policy: an entry is measured before any object is built for it.

An entry is measured alone, with its longest host and as if its object were visible in all namespaces of exportTo. The
emitted object is never larger, except for a host with several entries in a namespace: `budget` adds those up.
"""

import enum
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache

from app.core.policy.model import Limits, Settings
from app.core.resources.fields import JSON
from app.core.resources.records import Record, replace
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.destination_rule import destination_rule
from app.core.routes.virtual_service import Declared, Place, virtual_service
from app.core.rules.catalogue import LIMIT_EXCEEDED
from app.core.rules.findings import Finding, Severity
from app.core.rules.overrides import Tuning

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
UID = "00000000-0000-0000-0000-000000000000"


class Bound(enum.Enum):
    """A limit, by its name in the policy."""

    ENTRY_HOSTS = "entryHosts"
    ENTRY_ROUTES = "entryRoutes"
    OBJECT_BYTES = "objectBytes"
    NAMESPACE_OBJECTS = "namespaceObjects"


_PATHS = {
    Bound.ENTRY_HOSTS: "spec.hosts",
    Bound.ENTRY_ROUTES: "spec.ports",
    Bound.OBJECT_BYTES: "spec",
    Bound.NAMESPACE_OBJECTS: "metadata.namespace",
}


class Exceeded(Record):
    """A limit that an entry exceeds, with a text."""

    bound: Bound
    what: str

    @property
    def finding(self) -> Finding:
        """The finding for the owner of the entry."""
        message = f"{self.what}, so nothing is emitted for the entry"
        return Finding(LIMIT_EXCEEDED, Severity.WARNING, _PATHS[self.bound], message)


class Size(Record):
    """Bytes of the largest object of an entry: without routes, and for each of its HTTP ports."""

    base: int = 0
    port: int = 0

    def of(self, ports: int) -> int:
        """Return the bytes of an object with routes for a number of ports."""
        return self.base + ports * self.port


def measure(entry: ServiceEntry, ports: int, tuning: Tuning, settings: Settings) -> tuple[Size, Exceeded | None]:
    """Return the limit that an entry exceeds, if any. `ports` is the number of its HTTP ports."""
    limits, hosts, routes = settings.limits, len(entry.hosts), len(entry.hosts) * ports
    if hosts > limits.entry_hosts:
        what = f"{hosts:,} hosts are more than limits.entryHosts ({limits.entry_hosts:,})"
        return Size(), Exceeded(Bound.ENTRY_HOSTS, what)
    if routes > limits.entry_routes:
        what = f"{hosts:,} hosts times {ports:,} HTTP ports are more than limits.entryRoutes ({limits.entry_routes:,})"
        return Size(), Exceeded(Bound.ENTRY_ROUTES, what)
    size = _size(entry, tuning, settings)
    return size, too_large(limits) if size.of(ports) > limits.object_bytes else None


def too_large(limits: Limits) -> Exceeded:
    """Return the excess of an object's size, without the number, so that the message stays the same after edits."""
    what = f"an object for one of its hosts has more bytes than limits.objectBytes ({limits.object_bytes:,})"
    return Exceeded(Bound.OBJECT_BYTES, what)


def no_room(limits: Limits) -> Exceeded:
    """Return the excess because of older entries of the namespace."""
    limit = f"limits.namespaceObjects ({limits.namespace_objects:,})"
    what = f"with the objects of older entries, those of this one would exceed {limit} of the namespace"
    return Exceeded(Bound.NAMESPACE_OBJECTS, what)


def _size(entry: ServiceEntry, tuning: Tuning, settings: Settings) -> Size:
    named = [host for host in entry.hosts if host.object_name]
    if not named:
        return Size()
    host = max(named, key=lambda host: len(host.text))
    # An entry in a file has no uid yet, and an object in the cluster has that of its owner: both must get the same
    # size.
    place = Place(entry if entry.uid else replace(entry, uid=UID), host, host.object_name, entry.export_to)
    declared = [Declared(entry, host, port, tuning) for port in entry.ports]
    sizes = [*_virtual_service(place, declared), *_destination_rule(place, declared, settings)]
    return _same(max((size.base for size in sizes), default=0), max((size.port for size in sizes), default=0))


@lru_cache(maxsize=1024)
def _same(base: int, port: int) -> Size:
    """Return the same object for equal sizes, to save memory: most entries share a few."""
    return Size(base, port)


def _virtual_service(place: Place, declared: Sequence[Declared]) -> Iterator[Size]:
    routed = [each for each in declared if each.port.http and each.tuning.emit]
    if routed:
        manifest = virtual_service(place, routed, alone=False).manifest
        yield _measured(manifest, manifest["spec"]["http"], len(routed))


def _destination_rule(place: Place, declared: Sequence[Declared], settings: Settings) -> Iterator[Size]:
    rule = settings.destination_rule
    if rule.enabled and (emitted := destination_rule(place, declared, rule)):
        ports = emitted.manifest["spec"]["trafficPolicy"].get("portLevelSettings", [])
        yield _measured(emitted.manifest, ports, len(ports) or 1)


def _measured(manifest: JSON, parts: JSON, ports: int) -> Size:
    """Measure an object and its parts for each port."""
    of_ports = _bytes(parts)
    return Size(_bytes(manifest) - of_ports, -(-of_ports // ports))


def _bytes(manifest: JSON) -> int:
    return len(_ENCODER.encode(manifest).encode(errors="surrogatepass"))
