"""An index of ServiceEntries and objects that route hosts, to decide one object name without reading all others.

A name is a namespace and the object name of a host. Its result depends on the entries for the host in any namespace,
on wildcards that overlap it, and on other objects that route it.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from itertools import chain
from typing import Generic, TypeVar

from app.core.policy.model import GuardPolicy, default_policy
from app.core.resources.hosts import first_name, second_name
from app.core.resources.namespaces import Namespace
from app.core.resources.records import Record, field, replace
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.bindings import NO_WAYPOINTS, Bindings, Waypoints
from app.core.routes.candidates import Candidate
from app.core.routes.entry_index import EntryIndex
from app.core.routes.host_index import wildcards
from app.core.routes.observed import KINDS, Observed
from app.core.routes.other_entries import OtherEntries, other_entries

A = TypeVar("A", bound=Hashable)
B = TypeVar("B", bound=Hashable)
V = TypeVar("V")
NO_OTHERS = OtherEntries()


class Neighbours(Record):
    """Everything that decides one name."""

    host: str
    entries: tuple[Candidate, ...] = ()
    """The namespace's own that name the host."""
    others: OtherEntries = NO_OTHERS
    """What other entries there are."""
    observed: tuple[Observed, ...] = ()
    """Objects of others that route the host, and every object with the name."""
    parents: frozenset[Key] = frozenset()
    """Entries of any namespace for the host that are the parent of an HTTPRoute."""
    waypoints: Waypoints = NO_WAYPOINTS
    """The waypoints that serve the namespace's own entries."""
    policy: GuardPolicy = field(default_factory=default_policy)
    """The policy of the entries."""


class Index:
    """The observed objects, under a policy; not safe for threads.

    `put_entry` and `put_object` get the old state (None: new) and the new state (None: deleted). They return the names
    to reconcile.
    """

    def __init__(self, policy: GuardPolicy | None = None) -> None:
        self.entries = EntryIndex(policy)
        self.bindings = Bindings()
        self._objects: dict[tuple[str, Key], Observed] = {}
        self._managed = Counter(dict.fromkeys(KINDS, 0))  # the guard's objects, by kind
        self._claims: _Index[str, tuple[str, Key], Observed] = _Index()  # others' objects, by the hosts that they claim
        self._children: _Index[Key, tuple[str, Key], Observed] = _Index()  # HTTPRoutes, by their ServiceEntries

    def put_entry(
        self, old: ServiceEntry | None, new: ServiceEntry | None, handle: Hashable | None = None
    ) -> frozenset[Key]:
        """Process an added, changed or deleted ServiceEntry; `handle` distinguishes entries with the same key."""
        key = next((state.key for state in (old, new) if state), None)
        handle = key if handle is None else handle
        rebound = self.bindings.put(old, new, handle)
        found = self.entries.put(old, new, handle)
        if rebound:
            found |= frozenset(self._overlapping(*filter(None, (old, new))))
        if key and any(self._children.at(key)):
            found |= {name for host in self.entries.hosts_of(old, new) for name in self.entries.asking(host)}
        return found

    def put_namespace(self, name: str, new: Namespace | None) -> frozenset[Key]:
        """Take the labels of a namespace as they are, None if it is gone."""
        concerned = self.bindings.put_namespace(name, new)
        own = {Key(one.key.namespace, host.object_name) for one in concerned for host in one.hosts if host.object_name}
        return frozenset({*own, *self._overlapping(*concerned)})

    def put_object(self, old: Observed | None, new: Observed | None) -> frozenset[Key]:
        """Process an added, changed or deleted object of an emitted kind, or HTTPRoute."""
        if old:
            self._remove_object(old)
        if new:
            self._add_object(new)
        found = set[Key]()
        for state in (old, new):
            if state:
                found.add(place(state.key))
                found.update(() if state.managed else self._routed_by(state))
        return frozenset(found)

    def neighbours(self, key: Key) -> Neighbours:
        """Return everything that decides a name; without entries if none of its namespace asks for it."""
        host, policy = self.entries.host(key.name), self.entries.policy
        objects = {(stored.kind, stored.key): stored for stored in self._named(key)}
        own = self.entries.by_host.at(host).of(key.namespace)
        if not own:
            return Neighbours(host, observed=tuple(objects.values()), policy=policy)
        parents = self._parents(host)
        objects |= {(stored.kind, stored.key): stored for stored in self._routing(host, parents)}
        others = other_entries(host, key.namespace, self.entries.by_host)
        overlapping = (each for each in self.entries.by_host.meeting(host) if each != host)
        waypoints = self.bindings.at(key.namespace, own, overlapping)
        return Neighbours(host, tuple(own.values()), others, tuple(objects.values()), parents, waypoints, policy)

    def names(self) -> frozenset[Key]:
        """Return every name that an entry asks for or that an object of the guard has."""
        managed = (place(stored.key) for stored in self._objects.values() if stored.managed)
        return frozenset(chain(self.entries.names(), managed))

    def managed_by_namespace(self) -> Counter[str]:
        """Count the guard's objects in each namespace."""
        return Counter(stored.key.namespace for stored in self._objects.values() if stored.managed)

    def routed(self) -> Iterator[tuple[Key, str, str]]:
        """Yield the guard's VirtualServices, each with its host and creation time."""
        for stored in self._objects.values():
            if stored.managed and stored.kind == "VirtualService":
                yield from ((stored.key, host, stored.created) for host in stored.claims)

    def count_managed(self, kind: str) -> int:
        """Count the emitted objects of a kind."""
        return self._managed[kind]

    def _add_object(self, stored: Observed) -> None:
        at = (stored.kind, stored.key)
        self._objects[at] = stored
        if stored.managed:
            self._managed[stored.kind] += 1
        for claim in () if stored.managed else stored.claims:
            self._claims.put(claim, at, stored)
        for parent in stored.parents:
            self._children.put(parent, at, stored)

    def _remove_object(self, stored: Observed) -> None:
        at = (stored.kind, stored.key)
        if self._objects.pop(at, None) and stored.managed:
            self._managed[stored.kind] -= 1
        for claim in stored.claims:
            self._claims.drop(claim, at)
        for parent in stored.parents:
            self._children.drop(parent, at)

    def _overlapping(self, *entries: ServiceEntry) -> Iterator[Key]:
        """Yield the names of all hosts that overlap with those of entries, without being the same."""
        for host in self.entries.hosts_of(*entries):
            for met in self.entries.by_host.meeting(host):
                if met != host:
                    yield from self.entries.names_of(met)

    def _routed_by(self, stored: Observed) -> Iterator[Key]:
        """Yield the names that an object of others affects."""
        for claim in stored.claims:
            covered = self.entries.by_host.under(claim) if claim.startswith("*") else ()
            for host in {claim, *covered}:
                yield from self.entries.names_of(host)
        for parent in stored.parents:
            for host in self.entries.hosts_of(self.entries.get(parent)):
                yield from self.entries.asking(host)

    def _parents(self, host: str) -> frozenset[Key]:
        """Return the entries for a host that are parents of HTTPRoutes."""
        return (
            frozenset(entry.key for entry in self.entries.by_host.at(host) if any(self._children.at(entry.key)))
            if self._children
            else frozenset()
        )

    def _routing(self, host: str, parents: Iterable[Key]) -> Iterator[Observed]:
        yield from self._claims.at(host)
        if self._claims:
            for wildcard in wildcards(host):
                yield from self._claims.at(wildcard)
        for parent in parents:
            yield from self._children.at(parent)

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


def place(key: Key) -> Key:
    """Return the name that decides an object."""
    name = first_name(key.name)
    return key if name == key.name else replace(key, name=name)
