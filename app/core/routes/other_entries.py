"""The effect of other namespaces' entries for a host, or for a wildcard that overlaps it, in one namespace."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

from app.core.resources.records import Record
from app.core.resources.service_entry import Key
from app.core.routes.candidates import Candidate, age
from app.core.routes.host_entries import EntryRef, EntryRefs, HostEntries, by_name, other, ref
from app.core.routes.host_index import HostIndex
from app.core.routes.observed import KINDS

NO_REFS = (None,) * len(KINDS)


class OtherEntries(Record):
    """The effect; values by kind are in the order of KINDS."""

    ports: frozenset[int] = frozenset()
    """Ports that istiod may serve with a VirtualService of the host, of any entry: at most two of them."""
    public: tuple[EntryRef | None, ...] = NO_REFS
    """For each kind the oldest public entry for the host for which an object is emitted."""
    silent: tuple[EntryRef | None, ...] = NO_REFS
    """For each kind the oldest entry for the host for which none is."""
    wild: EntryRef | None = None
    """An entry for an overlapping host: a wildcard that covers the host, or a host that it covers as a wildcard."""
    without_port_80: str | None = None
    """A namespace whose entries for the host have no port 80."""
    protocols: Mapping[int, Mapping[str, EntryRef]] = {}
    """Ports with more than one declared protocol: for each the oldest entry that others see."""
    captured: Key | None = None
    """An entry for a host that a wildcard's VirtualService would route as well."""
    same: tuple[Candidate, ...] = ()
    """The other namespaces' entries for the host, if this namespace exports its own by name: then all count."""
    meeting: frozenset[str] = frozenset()
    """In that case also the namespaces of entries for overlapping hosts."""


def other_entries(host: str, namespace: str, index: HostIndex) -> OtherEntries:
    """Find the effect of other namespaces' entries for a host in a namespace that names it."""
    entries = index.at(host)
    if all(each == namespace for each in entries.namespaces) and not any(_related(host, index)):
        return OtherEntries(_two(entries.ports))
    summary = entries.summary
    named = any(by_name(entry) for entry in entries.of(namespace).values())
    ports = chain(summary.ports, (port for each in _related(host, index) for port in each.ports))
    return OtherEntries(
        ports=_two(ports),
        public=tuple(other(refs, namespace) for refs in summary.public),
        silent=tuple(other(refs, namespace) for refs in summary.silent),
        wild=next(_wild(entries, namespace, _related(host, index)), None),
        without_port_80=next((name for name in summary.without_port_80 if name != namespace), None),
        protocols={number: _others(declared, namespace) for number, declared in summary.contested.items()},
        captured=_captured(host, namespace, index) if host.startswith("*") else None,
        same=tuple(entry for entry in entries if entry.key.namespace != namespace) if named else (),
        meeting=frozenset(_meeting(entries, _related(host, index))) if named else frozenset(),
    )


def _others(declared: Mapping[str, EntryRefs], namespace: str) -> dict[str, EntryRef]:
    found = ((protocol, other(refs, namespace)) for protocol, refs in declared.items())
    return {protocol: ref for protocol, ref in found if ref}


def _two(ports: Iterable[int]) -> frozenset[int]:
    """Return the first two different ports: more than two make no difference."""
    found = set[int]()
    for port in ports:
        found.add(port)
        if len(found) == 2:
            break
    return frozenset(found)


def _related(host: str, index: HostIndex) -> Iterator[HostEntries]:
    """Yield the entries of each overlapping host; a wildcard has very many, and the first one is usually enough."""
    return (index.at(each) for each in index.meeting(host) if each != host)


def _wild(entries: HostEntries, namespace: str, related: Iterable[HostEntries]) -> Iterator[EntryRef]:
    """Yield the oldest entry of each related host that is of another namespace and does not name the host."""
    for each in related:
        first = other(each.summary.oldest, namespace)
        if first and not entries.has(first.key):
            yield first
        elif first:
            others = (
                each_entry
                for each_entry in each
                if each_entry.key.namespace != namespace and not entries.has(each_entry.key)
            )
            yield from islice(sorted(ref(each_entry) for each_entry in others), 1)


def _meeting(entries: HostEntries, related: Iterable[HostEntries]) -> Iterator[str]:
    return (each_entry.key.namespace for each in related for each_entry in each if not entries.has(each_entry.key))


def _captured(wildcard: str, namespace: str, index: HostIndex) -> Key | None:
    """Find an entry for a host below a wildcard that the namespace sees and has no VirtualService for."""
    for host in index.under(wildcard):
        seen = (
            candidate
            for candidate in index.at(host)
            if _sees(namespace, candidate) and not _routed(candidate, namespace, wildcard)
        )
        if found := min(seen, key=lambda candidate: age(candidate.entry), default=None):
            return found.key
    return None


def _sees(namespace: str, candidate: Candidate) -> bool:
    return candidate.key.namespace == namespace or "*" in candidate.seen_by or namespace in candidate.seen_by


def _routed(candidate: Candidate, namespace: str, wildcard: str) -> bool:
    """Say whether the namespace has VirtualServices for all hosts of an entry that are below a wildcard."""
    hosts = (host.canonical for host in candidate.entry.hosts if _beneath(host.canonical, wildcard))
    return candidate.key.namespace == namespace and all(
        candidate.withheld("VirtualService", host) is None for host in hosts
    )


def _beneath(host: str, wildcard: str) -> bool:
    return host != wildcard and host.endswith(wildcard[1:])
