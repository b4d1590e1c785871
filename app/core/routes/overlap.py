"""Hosts that ServiceEntries of different namespaces share: exported to the whole mesh, or with different protocols."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from app.core.policy.model import GuardPolicy
from app.core.resources.records import Record
from app.core.resources.service_entry import Key, Port, ServiceEntry
from app.core.routes.candidates import meet, seen_by
from app.core.rules.catalogue import HOST_EXPORTED_TWICE, PROTOCOLS_DIFFER
from app.core.rules.findings import Finding, Severity, and_more, port_label, quoted
from app.core.rules.resolution import in_scope
from app.core.rules.retries import NO_ONE

MOST = 4
"""Maximum number of entries, one per namespace, that are stored for a protocol of a port."""
ALIKE = {"HTTPS": "TLS"}
"""Protocols that Istio treats like another one."""


class Offer(Record):
    """An entry that declares a port of a host with some protocol."""

    key: Key
    seen_by: frozenset[str]
    port: Port


Protocols = dict[str, dict[str, Offer]]
"""Offers by protocol, then by namespace."""


class Overlaps(Record):
    """What entries of different namespaces share, by canonical host; lists are in the order of their keys."""

    offers: Mapping[str, tuple[Key, ...]] = {}
    """The entries that export it to the whole mesh."""
    protocols: Mapping[str, Mapping[int, Protocols]] = {}
    """Ports with more than one protocol."""


def overlaps(entries: Iterable[ServiceEntry]) -> Overlaps:
    """Return what entries of more than one namespace share."""
    sharing = defaultdict[str, list[ServiceEntry]](list)
    for entry in entries:
        for host in {host.canonical for host in entry.hosts}:
            sharing[host].append(entry)
    shared = {host: sorted(found, key=_place) for host, found in sharing.items() if _several(found)}
    public = {host: [offer for offer in found if offer.public] for host, found in shared.items()}
    return Overlaps(
        {host: tuple(dict.fromkeys(offer.key for offer in found)) for host, found in public.items() if _several(found)},
        {host: ports for host, found in shared.items() if (ports := _ports(found))},
    )


def overlap_findings(entry: ServiceEntry, overlapping: Overlaps, policy: GuardPolicy) -> tuple[Finding, ...]:
    """Yield the findings on hosts that an entry shares with entries of other namespaces."""
    if not in_scope(entry, policy.settings(entry.key.namespace)):
        return ()
    found = list[Finding]()
    for host in entry.hosts:
        offers = overlapping.offers.get(host.canonical, ())
        others = [key for key in offers if key.namespace != entry.key.namespace]
        if entry.key in offers:
            found.append(_offered(host.text, others))
        found += _differing(entry, host.text, overlapping.protocols.get(host.canonical, {}))
    return tuple(found)


def _place(entry: ServiceEntry) -> str:
    return str(entry.key)


def _several(entries: Iterable[ServiceEntry]) -> bool:
    return len({entry.key.namespace for entry in entries}) > 1


def _ports(entries: Iterable[ServiceEntry]) -> Mapping[int, Protocols]:
    ports = defaultdict[int, Protocols](dict)
    for entry in entries:
        for port in () if NO_ONE in entry.export_to else entry.ports:
            offers = ports[port.number].setdefault(ALIKE.get(port.protocol, port.protocol), {})
            if len(offers) < MOST:
                offers.setdefault(entry.key.namespace, Offer(entry.key, seen_by(entry), port))
    return {number: protocols for number, protocols in ports.items() if len(protocols) > 1}


def _differing(entry: ServiceEntry, host: str, ports: Mapping[int, Protocols]) -> Iterator[Finding]:
    hits = [
        (index, other)
        for index, port in enumerate(entry.ports)
        if (other := _other(entry, port, ports.get(port.number, {})))
    ]
    if hits:
        index, other = hits[0]
        label = port_label(other.port.number, other.port.protocol)
        message = (
            f"ServiceEntry {other.key} declares {label} of {quoted(host)}; a proxy that sees both uses one of them"
        )
        sentence, place = and_more(message, len(hits)), ("ServiceEntry", other.key)
        yield Finding(PROTOCOLS_DIFFER, Severity.WARNING, f"spec.ports[{index}].protocol", sentence, place)


def _other(entry: ServiceEntry, port: Port, protocols: Protocols) -> Offer | None:
    """Return an entry of another namespace with another protocol, if some namespace sees both."""
    for protocol, offers in protocols.items():
        if protocol != ALIKE.get(port.protocol, port.protocol):
            for namespace, offer in offers.items():
                if namespace != entry.key.namespace and meet(seen_by(entry) - {NO_ONE}, offer.seen_by):
                    return offer
    return None


def _offered(host: str, others: list[Key]) -> Finding:
    message = f"ServiceEntry {others[0]} also exports {quoted(host)} to the whole mesh"
    sentence = and_more(message, len(others))
    return Finding(HOST_EXPORTED_TWICE, Severity.INFO, "spec.hosts", sentence, ("ServiceEntry", others[0]))
