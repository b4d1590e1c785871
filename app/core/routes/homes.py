"""The entries of one namespace for which objects are emitted for a host, and the ports that these objects serve."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from app.core.policy.model import Settings
from app.core.policy.traffic import Reach
from app.core.resources.hosts import Host
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.candidates import Candidate, Declarations, age, disagreeing, meet, precedence, seen_together
from app.core.routes.host_entries import HTTP_PORT
from app.core.routes.index import Neighbours
from app.core.routes.virtual_service import Declared
from app.core.rules.catalogue import HOST_SHARED, REACH_CONFINED
from app.core.rules.findings import Finding, Severity, port_label, quoted
from app.core.rules.retries import NO_ONE

Note = tuple[Key, Finding]
"""A finding, and the entry that it is about."""


@dataclass(frozen=True, slots=True)
class Home:
    """The entries of one namespace for which objects are emitted for a host, oldest first."""

    namespace: str
    host: str
    entries: tuple[Candidate, ...]
    seen_by: frozenset[str]
    """The namespaces that see all of the entries; `*` for each."""

    @property
    def owner(self) -> Candidate:
        """The oldest entry."""
        return self.entries[0]

    @property
    def settings(self) -> Settings:
        """The settings of the namespace."""
        return self.owner.settings

    def confined(self, why: str, other: tuple[str, Key] | None = None) -> Finding:
        """Say why fewer namespaces see what is emitted than see an entry; `other` is an object that `why` names."""
        message = f"objects for {quoted(self.host)} are visible in fewer namespaces: {why}"
        return Finding(REACH_CONFINED, Severity.INFO, "spec.exportTo", message, other)


@dataclass(frozen=True, slots=True)
class Served:
    """A home, the ports of its entries (of two with one number, that of the older entry), and how they are matched."""

    home: Home
    host: Host
    declared: tuple[Declared, ...]
    contested: Declarations
    apart: tuple[tuple[Candidate, str], ...] = ()
    """Entries that other sidecars see than the oldest, which has the host; and the field that tells them apart."""
    alone: bool = False
    """Whether port 80 is the only one that istiod serves with a VirtualService of the host.

    Without a match by port, a route counts for port 80 too: istiod writes the routes of port 80 for every host that a
    VirtualService names, declared there or not.
    """

    @property
    def routed(self) -> tuple[Declared, ...]:
        """The ports that get a route: HTTP ports, where all entries of the namespace agree on the protocol."""
        return tuple(one for one in self.declared if one.port.http and one.port.number not in self.contested)

    def notes(self) -> Iterator[Note]:
        """Yield the findings on entries that share the host with an older one."""
        owner, host = self.home.owner, quoted(self.home.host)
        for one, differs in self.apart:
            first = precedence(owner.entry.created, one.entry.created)
            message = f"{host} belongs to ServiceEntry {owner.key}, which is {first} and has another {differs}"
            yield _shared(one, owner.key, message)
        owners = {one.port.number: one.entry for one in self.declared}
        for one in self.home.entries:
            ports = dict.fromkeys(port.number for port in one.entry.ports)
            for number in ports:
                older = owners[number]
                if older.key != one.key and number not in self.contested:
                    first = precedence(older.created, one.entry.created)
                    message = f"port {number} of {host} belongs to ServiceEntry {older.key}, which is {first}"
                    yield _shared(one, older.key, message)
        if self.home.settings.virtual_service.reach is Reach.ENTRY:
            yield from self._narrowed()

    def _narrowed(self) -> Iterator[Note]:
        """Yield a finding for each entry that more namespaces see than another entry of the host."""
        audiences = {one.seen_by: one.key for one in reversed(self.home.entries)}
        for one in self.home.entries if len(audiences) > 1 else ():
            fewer = (key for seen, key in audiences.items() if meet(one.seen_by, seen) != one.seen_by)
            if other := next(fewer, None):
                why = f"ServiceEntry {other} shares the host, and has another exportTo"
                yield one.key, self.home.confined(why, ("ServiceEntry", other))


def served_at(key: Key, kind: str, neighbours: Neighbours, notes: list[Note]) -> Served | None:
    """Gather what is emitted of a kind at a name, None if nothing is; `notes` takes why, where entries asked for it."""
    own = sorted(neighbours.entries, key=lambda one: age(one.entry))
    emitting = [one for one in own if one.withheld(kind, neighbours.host) is None]
    if not emitting:
        return None
    if kind == "VirtualService" and (captured := neighbours.others.captured):
        notes += [(one.key, _captures(neighbours.host, captured)) for one in emitting]
        return None
    together, apart = _together(emitting)
    home = Home(key.namespace, neighbours.host, tuple(together), seen_together(together))
    # Which protocol a sidecar uses depends on the age of the entries and on who sees them.
    contested = disagreeing(one for one in own if one.seen_by != {NO_ONE})
    served = Served(home, _spelling(home.owner.entry, home.host), tuple(_declared(home)), contested, tuple(apart))
    if kind == "VirtualService":
        notes += _unrouted(home, contested)
        return replace(served, alone=_alone(served, neighbours)) if served.routed else None
    return served


def _alone(served: Served, neighbours: Neighbours) -> bool:
    return neighbours.others.ports | {one.port.number for one in served.routed} == {HTTP_PORT}


def _unrouted(home: Home, contested: Declarations) -> Iterator[Note]:
    for one in home.entries:
        for port in one.entry.ports if contested else ():
            others = contested.get(port.number, {}).items() if port.http else ()
            if found := next(((protocol, ones[0]) for protocol, ones in others if protocol != port.protocol), None):
                protocol, other = found
                label = port_label(port.number, port.protocol)
                message = f"{label} of {quoted(home.host)} gets no route: ServiceEntry {other.key} declares it as "
                yield _shared(one, other.key, message + (protocol or "a port without protocol"))


def _together(emitting: Sequence[Candidate]) -> tuple[list[Candidate], list[tuple[Candidate, str]]]:
    """Split off the entries that other sidecars see than the oldest: one object serves what the others declare."""
    together, apart, seen = [emitting[0]], list[tuple[Candidate, str]](), emitting[0].seen_by
    for one in emitting[1:]:
        common = meet(seen, one.seen_by)
        if common and one.entry.revision == emitting[0].entry.revision:
            seen = common
            together.append(one)
        else:
            apart.append((one, "label istio.io/rev" if common else "exportTo"))
    return together, apart


def _declared(home: Home) -> Iterable[Declared]:
    """Yield the ports of a home; of two with one number, that of the older entry."""
    seen = set[int]()
    for one in home.entries:
        new = [port for port in one.entry.ports if port.number not in seen]
        if new:
            host = _spelling(one.entry, home.host)
            yield from (Declared(one.entry, host, port, one.tuning) for port in new)
            seen.update(port.number for port in new)


def _shared(one: Candidate, older: Key, message: str) -> Note:
    return one.key, Finding(HOST_SHARED, Severity.WARNING, "spec.hosts", message, ("ServiceEntry", older))


def _captures(host: str, captured: Key) -> Finding:
    message = f"nothing is emitted for {quoted(host)}: it would also route the hosts of ServiceEntry {captured}"
    return Finding(REACH_CONFINED, Severity.INFO, "spec.hosts", message, ("ServiceEntry", captured))


def _spelling(entry: ServiceEntry, canonical: str) -> Host:
    return next(host for host in entry.hosts if host.canonical == canonical)
