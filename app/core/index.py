"""ServiceEntries and the objects that route hosts, indexed so that one name is decided without a look at all others.

A name is a namespace and the name that objects for a host have. What is decided there depends on the entries that name
the host in any namespace, on wildcards that meet it, and on others' objects that route it.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from app.core.hosts import first_name, second_name
from app.core.observed import KINDS, Observed
from app.core.resources import Key, ServiceEntry

A = TypeVar("A", bound=Hashable)
B = TypeVar("B", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """All that decides one name. `entries` name its host; `related` have a wildcard that meets it, or meets theirs."""

    host: str
    entries: tuple[ServiceEntry, ...] = ()
    related: tuple[ServiceEntry, ...] = ()
    observed: tuple[Observed, ...] = ()
    """Others' objects that route the host, and every object that has the name."""


class Index:
    """What was observed; not for use from several threads.

    `put_entry` and `put_object` take a thing as it was, None if it is new, and as it is, None if it is gone. They
    return the names whose decision may have changed by it.
    """

    def __init__(self) -> None:
        self._objects: dict[tuple[str, Key], Observed] = {}
        self._by_host = _Hosts()
        self._hosts: dict[str, str] = {}  # by the name of their objects
        self._by_key: dict[Key, ServiceEntry] = {}
        self._claims: _Index[str, tuple[str, Key], Observed] = _Index()  # others' objects, by the hosts that they claim
        self._children: _Index[Key, tuple[str, Key], Observed] = _Index()  # HTTPRoutes, by their ServiceEntries

    def put_entry(
        self, old: ServiceEntry | None, new: ServiceEntry | None, handle: Hashable | None = None
    ) -> frozenset[Key]:
        """Take a ServiceEntry that came, changed or went; `handle` tells entries of one key apart."""
        found = set[Key]()
        wide = old is None or new is None or _stance(old) != _stance(new)
        before, after = _names(old), _names(new)
        if old:
            self._remove_entry(old, before, old.key if handle is None else handle)
        if new:
            self._add_entry(new, after, new.key if handle is None else handle)
        for host in before | after:
            found |= {Key(one.key.namespace, (before | after)[host]) for one in (old, new) if one}
            if wide or host not in before or host not in after:
                found.update(self._asking(host))
        return frozenset(found)

    def put_object(self, old: Observed | None, new: Observed | None) -> frozenset[Key]:
        """Take an object of an emitted kind, or an HTTPRoute, that came, changed or went."""
        if old:
            self._remove_object(old)
        if new:
            self._add_object(new)
        found = set[Key]()
        for one in (old, new):
            if one:
                found.add(place(one.key))
                found.update(() if one.managed else self._routed_by(one))
        return frozenset(found)

    def neighbours(self, key: Key) -> Neighbours:
        """Return all that decides a name; without entries where none of its namespace asks for it."""
        host = self._hosts.get(key.name, "")
        named = {(one.kind, one.key): one for one in self._named(key)}
        if not (host and self._by_host.of(host, key.namespace)):
            return Neighbours(host, observed=tuple(named.values()))
        entries, related = tuple(self._by_host.at(host)), tuple(self._by_host.related(host))
        named |= {(one.kind, one.key): one for one in self._routing(host, entries)}
        return Neighbours(host, entries, related, tuple(named.values()))

    def siblings(self, entry: ServiceEntry) -> dict[Hashable, ServiceEntry]:
        """Return an entry, and those of its namespace that share a host with it or each other, by their handles."""
        found: dict[Hashable, ServiceEntry] = {}
        waiting, seen = [host.canonical for host in entry.hosts], set[str]()
        while waiting:
            host = waiting.pop()
            if host in seen:
                continue
            seen.add(host)
            for handle, one in self._by_host.of(host, entry.key.namespace).items():
                if handle not in found:
                    found[handle] = one
                    waiting.extend(each.canonical for each in one.hosts)
        return found

    def names(self) -> frozenset[Key]:
        """Return every name that there is anything to decide about: asked for by an entry, or of an object of ours."""
        asked = (Key(one.key.namespace, name) for name, host in self._hosts.items() for one in self._by_host.at(host))
        return frozenset({*asked, *(place(one.key) for one in self._objects.values() if one.managed)})

    def count_managed(self, kind: str) -> int:
        """Count our objects of a kind."""
        return sum(one.managed and one.kind == kind for one in self._objects.values())

    def _add_entry(self, entry: ServiceEntry, names: dict[str, str], handle: Hashable) -> None:
        self._by_key[entry.key] = entry
        for host, name in names.items():
            self._by_host.put(host, handle, entry)
            self._hosts[name] = host

    def _remove_entry(self, entry: ServiceEntry, names: dict[str, str], handle: Hashable) -> None:
        self._by_key.pop(entry.key, None)
        for host, name in names.items():
            self._by_host.drop(host, entry.key.namespace, handle)
            if host not in self._by_host:
                self._hosts.pop(name, None)

    def _add_object(self, one: Observed) -> None:
        at = (one.kind, one.key)
        self._objects[at] = one
        for claim in () if one.managed else one.claims:
            self._claims.put(claim, at, one)
        for parent in one.parents:
            self._children.put(parent, at, one)

    def _remove_object(self, one: Observed) -> None:
        at = (one.kind, one.key)
        self._objects.pop(at, None)
        for claim in one.claims:
            self._claims.drop(claim, at)
        for parent in one.parents:
            self._children.drop(parent, at)

    def _asking(self, host: str) -> Iterator[Key]:
        """Yield the names of all namespaces at which a host, or a wildcard that meets it, is decided."""
        for one in (*self._by_host.at(host), *self._by_host.related(host)):
            yield from (Key(one.key.namespace, name) for met, name in _names(one).items() if meets(met, host))

    def _routed_by(self, one: Observed) -> Iterator[Key]:
        """Yield the names that an object of others has a say in."""
        for claim in one.claims:
            hosts = self._by_host.under(claim) if claim.startswith("*") else ()
            for host in {claim, *hosts}:
                yield from (Key(each.key.namespace, _names(each)[host]) for each in self._by_host.at(host))
        for parent in one.parents:
            for host in _names(self._by_key.get(parent)):
                yield from self._asking(host)

    def _routing(self, host: str, entries: Iterable[ServiceEntry]) -> Iterator[Observed]:
        yield from self._claims.at(host)
        if self._claims:
            for wildcard in wildcards(host):
                yield from self._claims.at(wildcard)
        if self._children:
            for entry in entries:
                yield from self._children.at(entry.key)

    def _named(self, key: Key) -> Iterator[Observed]:
        for kind in KINDS:
            for name in (key.name, second_name(key.name)):
                if found := self._objects.get((kind, Key(key.namespace, name))):
                    yield found


class _Index(Generic[A, B, V]):
    """Values by two keys; an outer key is there as long as it has values."""

    def __init__(self) -> None:
        self._values: dict[A, dict[B, V]] = {}

    def __bool__(self) -> bool:
        return bool(self._values)

    def at(self, outer: A) -> Iterable[V]:
        return self._values.get(outer, {}).values()

    def put(self, outer: A, inner: B, value: V) -> None:
        self._values.setdefault(outer, {})[inner] = value

    def drop(self, outer: A, inner: B) -> None:
        values = self._values.get(outer, {})
        values.pop(inner, None)
        if not values:
            self._values.pop(outer, None)


class _Hosts:
    """Entries by host and namespace. Hosts are sorted by their ends as well, as wildcards match ends."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, dict[Hashable, ServiceEntry]]] = {}
        self._reversed: list[str] = []
        self._wild = 0

    def __contains__(self, host: str) -> bool:
        return host in self._entries

    def at(self, host: str) -> Iterator[ServiceEntry]:
        for entries in self._entries.get(host, {}).values():
            yield from entries.values()

    def of(self, host: str, namespace: str) -> Mapping[Hashable, ServiceEntry]:
        return self._entries.get(host, {}).get(namespace, {})

    def put(self, host: str, handle: Hashable, entry: ServiceEntry) -> None:
        if host not in self._entries:
            self._entries[host] = {}
            insort(self._reversed, host[::-1])
            self._wild += host.startswith("*")
        self._entries[host].setdefault(entry.key.namespace, {})[handle] = entry

    def drop(self, host: str, namespace: str, handle: Hashable) -> None:
        namespaces = self._entries.get(host, {})
        entries = namespaces.get(namespace, {})
        entries.pop(handle, None)
        if not entries:
            namespaces.pop(namespace, None)
        if not namespaces and host in self._entries:
            del self._entries[host]
            del self._reversed[bisect_left(self._reversed, host[::-1])]
            self._wild -= host.startswith("*")

    def related(self, host: str) -> Iterator[ServiceEntry]:
        """Yield entries with a wildcard that covers a host, and those with a host that a wildcard covers."""
        for wildcard in wildcards(host) if self._wild else ():
            if wildcard != host:
                yield from self.at(wildcard)
        for covered in self.under(host) if host.startswith("*") else ():
            yield from self.at(covered)

    def under(self, wildcard: str) -> Iterator[str]:
        """Yield the hosts that a wildcard covers, but not itself."""
        end = wildcard[:0:-1]
        for index in range(bisect_left(self._reversed, end), len(self._reversed)):
            if not self._reversed[index].startswith(end):
                return
            if (host := self._reversed[index][::-1]) != wildcard:
                yield host


def wildcards(host: str) -> Iterator[str]:
    """Yield every wildcard that covers a host: `*` stands for any beginning, also for none."""
    for start in range(len(host) + 1):
        yield f"*{host[start:]}"


def meets(one: str, other: str) -> bool:
    """Say whether two hosts are the same, or one is a wildcard that covers the other."""
    return one == other or _wild(one, other) or _wild(other, one)


def place(key: Key) -> Key:
    """Return the name at which an object is decided."""
    name = first_name(key.name)
    return key if name == key.name else replace(key, name=name)


def _wild(wildcard: str, host: str) -> bool:
    return wildcard.startswith("*") and host.endswith(wildcard[1:])


def _names(entry: ServiceEntry | None) -> dict[str, str]:
    """Return the names of the objects that an entry may have a say in, by canonical host."""
    return {host.canonical: host.object_name for host in entry.hosts if host.object_name} if entry else {}


def _stance(entry: ServiceEntry) -> ServiceEntry:
    """Return what other namespaces can see of an entry: not how it tunes its own retries."""
    kept = {name: text for name, text in entry.annotations.items() if name in SEEN}
    return replace(entry, annotations=kept, uid="", hosts=(), problems=())


SEEN = frozenset({"exempt", "exempt-until", "virtual-service"})
"""Annotations that decide whether anything is emitted."""
