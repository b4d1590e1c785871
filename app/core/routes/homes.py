"""The entries of one namespace for which objects are emitted for a host, and the ports that these objects serve."""

from collections.abc import Iterable, Iterator, Sequence

from app.core.policy.model import Settings
from app.core.policy.traffic import Reach
from app.core.resources.hosts import Host
from app.core.resources.records import Record
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


class Home(Record):
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
        """Return the finding that fewer namespaces see the object than the entry; `why` names `other`."""
        message = f"objects for {quoted(self.host)} are visible in fewer namespaces: {why}"
        return Finding(REACH_CONFINED, Severity.INFO, "spec.exportTo", message, other)


class Served(Record):
    """A home, the ports of its entries (of two with one number, that of the older entry), and how they are matched."""

    home: Home
    host: Host
    declared: tuple[Declared, ...]
    contested: Declarations
    apart: tuple[tuple[Candidate, str], ...] = ()
    """Entries with a different visibility than the oldest entry, which owns the object; and the field that differs."""
    alone: bool = False
    """Whether port 80 is the only one that istiod serves with a VirtualService of the host.

    Without a match by port, a route also applies to port 80: istiod writes the routes of port 80 for every host of a
    VirtualService, even if no entry declares it.
    """

    @property
    def routed(self) -> tuple[Declared, ...]:
        """The ports that get a route: HTTP ports on whose protocol all entries of the namespace agree."""
        return tuple(each for each in self.declared if each.port.http and each.port.number not in self.contested)

    def notes(self) -> Iterator[Note]:
        """Yield the findings on entries that share the host with an older one."""
        owner, host = self.home.owner, quoted(self.home.host)
        for member, differs in self.apart:
            first = precedence(owner.entry.created, member.entry.created)
            message = f"{host} belongs to ServiceEntry {owner.key}, which is {first} and has another {differs}"
            yield _shared(member, owner.key, message)
        owners = {each.port.number: each.entry for each in self.declared}
        for member in self.home.entries:
            ports = dict.fromkeys(port.number for port in member.entry.ports)
            for number in ports:
                older = owners[number]
                if older.key != member.key and number not in self.contested:
                    first = precedence(older.created, member.entry.created)
                    message = f"port {number} of {host} belongs to ServiceEntry {older.key}, which is {first}"
                    yield _shared(member, older.key, message)
        if self.home.settings.virtual_service.reach is Reach.ENTRY:
            yield from self._narrowed()

    def _narrowed(self) -> Iterator[Note]:
        """Yield a finding for each entry that more namespaces see than another entry of the host."""
        audiences = {each.seen_by: each.key for each in reversed(self.home.entries)}
        for member in self.home.entries if len(audiences) > 1 else ():
            fewer = (key for seen, key in audiences.items() if meet(member.seen_by, seen) != member.seen_by)
            if other := next(fewer, None):
                why = f"ServiceEntry {other} shares the host, and has another exportTo"
                yield member.key, self.home.confined(why, ("ServiceEntry", other))


def served_at(key: Key, kind: str, neighbours: Neighbours, notes: list[Note]) -> Served | None:
    """Return the home of an object of a kind and name, None if nothing is emitted; `notes` gets the reasons."""
    own = sorted(neighbours.entries, key=lambda each: age(each.entry))
    emitting = [each for each in own if each.withheld(kind, neighbours.host) is None]
    if not emitting:
        return None
    if kind == "VirtualService" and (captured := neighbours.others.captured):
        notes += [(each.key, _captures(neighbours.host, captured)) for each in emitting]
        return None
    together, apart = _together(emitting)
    home = Home(key.namespace, neighbours.host, tuple(together), seen_together(together))
    # The protocol that a sidecar uses depends on the age and the visibility of the entries.
    contested = disagreeing(each for each in own if each.seen_by != {NO_ONE})
    declared, alone = tuple(_declared(home)), False
    if kind == "VirtualService":
        notes += _unrouted(home, contested)
        routed = {each.port.number for each in declared if each.port.http} - contested.keys()
        if not routed:
            return None
        alone = neighbours.others.ports | routed == {HTTP_PORT}
    return Served(home, _spelling(home.owner.entry, home.host), declared, contested, tuple(apart), alone)


def _unrouted(home: Home, contested: Declarations) -> Iterator[Note]:
    for member in home.entries:
        for port in member.entry.ports if contested else ():
            others = contested.get(port.number, {}).items() if port.http else ()
            if found := next(
                ((protocol, declaring[0]) for protocol, declaring in others if protocol != port.protocol), None
            ):
                protocol, other = found
                label = port_label(port.number, port.protocol)
                message = f"{label} of {quoted(home.host)} gets no route: ServiceEntry {other.key} declares it as "
                yield _shared(member, other.key, message + (protocol or "a port without protocol"))


def _together(emitting: Sequence[Candidate]) -> tuple[list[Candidate], list[tuple[Candidate, str]]]:
    """Split off the entries with a different visibility than the oldest; one object serves the others."""
    together, apart, seen = [emitting[0]], list[tuple[Candidate, str]](), emitting[0].seen_by
    for member in emitting[1:]:
        common = meet(seen, member.seen_by)
        if common and member.entry.revision == emitting[0].entry.revision:
            seen = common
            together.append(member)
        else:
            apart.append((member, "label istio.io/rev" if common else "exportTo"))
    return together, apart


def _declared(home: Home) -> Iterable[Declared]:
    """Yield the ports of a home; of two with one number, that of the older entry."""
    seen = set[int]()
    for member in home.entries:
        new = [port for port in member.entry.ports if port.number not in seen]
        if new:
            host = _spelling(member.entry, home.host)
            yield from (Declared(member.entry, host, port, member.tuning) for port in new)
            seen.update(port.number for port in new)


def _shared(member: Candidate, older: Key, message: str) -> Note:
    return member.key, Finding(HOST_SHARED, Severity.WARNING, "spec.hosts", message, ("ServiceEntry", older))


def _captures(host: str, captured: Key) -> Finding:
    message = f"nothing is emitted for {quoted(host)}: it would also route the hosts of ServiceEntry {captured}"
    return Finding(REACH_CONFINED, Severity.INFO, "spec.hosts", message, ("ServiceEntry", captured))


def _spelling(entry: ServiceEntry, canonical: str) -> Host:
    return next(host for host in entry.hosts if host.canonical == canonical)
