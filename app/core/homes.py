"""The entries of one namespace for which objects are emitted for a host, and the ports that these objects serve."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.core.catalogue import HOST_SHARED, REACH_CONFINED
from app.core.exemptions import exemption
from app.core.findings import Finding, Severity, quoted
from app.core.hosts import Host, names_service
from app.core.index import Neighbours
from app.core.policy import GuardPolicy, Mode, Settings
from app.core.reach import HTTP_PORT, Home, age, meet, seen_by
from app.core.resources import Key, ServiceEntry
from app.core.retries import NO_ONE, routable
from app.core.routing import Declared
from app.core.rules import in_scope
from app.core.tuning import tune

Found = list[tuple[Key, Finding]]
"""Findings, each with the entry that it is about."""


@dataclass(frozen=True, slots=True)
class Served:
    """A home, the ports of its entries (of two with one number, that of the older entry), and how they are matched."""

    home: Home
    host: Host
    declared: tuple[Declared, ...]
    alone: bool
    """Whether port 80 is the only one that istiod serves with a VirtualService of the host.

    Without a match by port, a route counts for port 80 too: istiod writes the routes of port 80 for every host that a
    VirtualService names, declared there or not.
    """


def silence(entry: ServiceEntry, host: str, settings: Settings, kind: str) -> str | None:
    """Say why nothing of a kind is emitted for a host of an entry, if so."""
    if settings.mode is not Mode.ENFORCE:
        return f"mode is {settings.mode.value}"
    if not in_scope(entry, settings):
        return "it is not in the policy's scope"
    if exempted := exemption(entry, settings):
        return exempted.message
    if not routable(entry):
        return _unroutable(entry)
    if names_service(host, settings.scope.cluster_domains):
        return "it is a Kubernetes Service's name"
    return _nothing_to_write(entry, settings, kind)


def _unroutable(entry: ServiceEntry) -> str:
    if entry.terminating:
        return "it is being deleted"
    return "exportTo hides it" if NO_ONE in entry.export_to else f"resolution is {entry.resolution}"


def _nothing_to_write(entry: ServiceEntry, settings: Settings, kind: str) -> str | None:
    if kind == "DestinationRule":
        return None if settings.destination_rule.enabled else "the policy emits no DestinationRule"
    if not any(port.http for port in entry.ports):
        return "it has no HTTP port"
    return None if tune(entry.annotations, settings.virtual_service)[0].emit else "its VirtualService is disabled"


def served_at(key: Key, kind: str, neighbours: Neighbours, policy: GuardPolicy, found: Found) -> Served | None:
    """Gather what is emitted of a kind at a name, None if nothing is; findings on entries go to `found`."""
    settings = policy.settings(key.namespace)
    if kind == "DestinationRule" and not settings.destination_rule.enabled:
        return None
    own = sorted((one for one in neighbours.entries if one.key.namespace == key.namespace), key=age)
    emitting = [one for one in own if silence(one, neighbours.host, settings, kind) is None]
    if not emitting:
        return None
    if captured := _captured(key, kind, neighbours, settings):
        found += [(one.key, _captures(neighbours.host, captured)) for one in emitting]
        return None
    entries = tuple(_together(emitting, neighbours.host, found))
    tunings = tuple(tune(one.annotations, settings.virtual_service)[0] for one in entries)
    home = Home(key.namespace, neighbours.host, settings, entries, tunings)
    declared = tuple(_declared(home, found))
    served = {port.number for one in (*neighbours.entries, *neighbours.related) for port in one.ports if port.served}
    routed = {one.port.number for one in declared if one.port.http}
    return Served(home, _spelling(home.owner, home.host), declared, alone=served | routed == {HTTP_PORT})


def _together(emitting: Iterable[ServiceEntry], host: str, found: Found) -> Iterable[ServiceEntry]:
    """Yield the oldest entry, and those that the same sidecars see: one object serves what they declare together."""
    owner, *others = emitting
    seen = seen_by(owner)
    yield owner
    for entry in others:
        common = meet(seen, seen_by(entry))
        if common and entry.revision == owner.revision:
            seen = common
            yield entry
        else:
            differs = "exportTo" if not common else "label istio.io/rev"
            message = f"{quoted(host)} belongs to ServiceEntry {owner.key}, which is older and has another {differs}"
            _share(entry, owner, message, found)


def _declared(home: Home, found: Found) -> Iterable[Declared]:
    """Yield the ports of a home, and note entries that declare a port which an older one declares."""
    owners: dict[int, ServiceEntry] = {}
    for entry, tuning in zip(home.entries, home.tunings, strict=True):
        host = _spelling(entry, home.host)
        for port in entry.ports:
            owner = owners.setdefault(port.number, entry)
            if owner is entry:
                yield Declared(entry, host, port, tuning)
            elif owner.key != entry.key:
                message = (
                    f"port {port.number} of {quoted(home.host)} belongs to ServiceEntry {owner.key}, which is older"
                )
                _share(entry, owner, message, found)


def _share(entry: ServiceEntry, owner: ServiceEntry, message: str, found: Found) -> None:
    other = ("ServiceEntry", owner.key)
    found.append((entry.key, Finding(HOST_SHARED, Severity.WARNING, "spec.hosts", message, other)))


def _captured(key: Key, kind: str, neighbours: Neighbours, settings: Settings) -> ServiceEntry | None:
    """Return an entry for a host that a wildcard's VirtualService would route as well, if the namespace sees one."""
    if kind == "DestinationRule" or not neighbours.host.startswith("*"):
        return None
    for one in sorted(neighbours.related, key=age):
        hosts = [host.canonical for host in one.hosts if _beneath(host.canonical, neighbours.host)]
        seen = seen_by(one)
        home = one.key.namespace == key.namespace
        routed = home and all(silence(one, host, settings, kind) is None for host in hosts)
        if hosts and not routed and (home or "*" in seen or key.namespace in seen):
            return one
    return None


def _captures(host: str, captured: ServiceEntry) -> Finding:
    message = f"nothing is emitted for {quoted(host)}: it would also route the hosts of ServiceEntry {captured.key}"
    return Finding(REACH_CONFINED, Severity.INFO, "spec.hosts", message, ("ServiceEntry", captured.key))


def _beneath(host: str, wildcard: str) -> bool:
    return host != wildcard and host.endswith(wildcard[1:])


def _spelling(entry: ServiceEntry, canonical: str) -> Host:
    return next(host for host in entry.hosts if host.canonical == canonical)


def by_entry(found: Found) -> Mapping[Key, tuple[Finding, ...]]:
    """Group findings by entry, each once."""
    grouped: dict[Key, dict[Finding, None]] = {}
    for key, finding in found:
        grouped.setdefault(key, {})[finding] = None
    return {key: tuple(findings) for key, findings in grouped.items()}
