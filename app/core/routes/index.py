"""ServiceEntries and the objects that route hosts, indexed so that one name is decided without a look at all others.

A name is a namespace and the name that objects for a host have. What is decided there depends on the entries that name
the host in any namespace, on wildcards that meet it, and on others' objects that route it.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from app.core.policy.model import GuardPolicy, default_policy
from app.core.resources.hosts import first_name, second_name
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.candidates import Candidate
from app.core.routes.entry_index import EntryIndex
from app.core.routes.host_index import wildcards
from app.core.routes.observed import KINDS, Observed
from app.core.routes.other_entries import OtherEntries, other_entries

A = TypeVar("A", bound=Hashable)
B = TypeVar("B", bound=Hashable)
V = TypeVar("V")
NO_OTHERS = OtherEntries()


@dataclass(frozen=True, slots=True)
class Neighbours:
    """All that decides one name."""

    host: str
    entries: tuple[Candidate, ...] = ()
    """The namespace's own that name the host."""
    others: OtherEntries = NO_OTHERS
    """What other entries there are."""
    observed: tuple[Observed, ...] = ()
    """Others' objects that route the host, and every object that has the name."""
    parents: frozenset[Key] = frozenset()
    """Entries of any namespace that name the host and that an HTTPRoute has for its parent."""
    policy: GuardPolicy = field(default_factory=default_policy, compare=False, repr=False)
    """What the entries were judged by."""


class Index:
    """What was observed, under a policy; not for use from several threads.

    `put_entry` and `put_object` take a thing as it was, None if it is new, and as it is, None if it is gone. They
    return the names whose decision may have changed by it.
    """

    def __init__(self, policy: GuardPolicy | None = None) -> None:
        self.entries = EntryIndex(policy)
        self._objects: dict[tuple[str, Key], Observed] = {}
        self._claims: _Index[str, tuple[str, Key], Observed] = _Index()  # others' objects, by the hosts that they claim
        self._children: _Index[Key, tuple[str, Key], Observed] = _Index()  # HTTPRoutes, by their ServiceEntries

    def put_entry(
        self, old: ServiceEntry | None, new: ServiceEntry | None, handle: Hashable | None = None
    ) -> frozenset[Key]:
        """Take a ServiceEntry that came, changed or went; `handle` tells entries of one key apart."""
        key = next((one.key for one in (old, new) if one), None)
        found = self.entries.put(old, new, key if handle is None else handle)
        if key and any(self._children.at(key)):
            found |= {name for host in self.entries.hosts_of(old, new) for name in self.entries.asking(host)}
        return found

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
        host, policy = self.entries.host(key.name), self.entries.policy
        objects = {(one.kind, one.key): one for one in self._named(key)}
        entries = tuple(self.entries.by_host.at(host).of(key.namespace).values())
        if not entries:
            return Neighbours(host, observed=tuple(objects.values()), policy=policy)
        parents = self._parents(host)
        objects |= {(one.kind, one.key): one for one in self._routing(host, parents)}
        others = other_entries(host, key.namespace, self.entries.by_host)
        return Neighbours(host, entries, others, tuple(objects.values()), parents, policy)

    def names(self) -> frozenset[Key]:
        """Return every name that there is anything to decide about: asked for by an entry, or of an object of ours."""
        managed = (place(one.key) for one in self._objects.values() if one.managed)
        return frozenset({*self.entries.names(), *managed})

    def managed_by_namespace(self) -> Counter[str]:
        """Count our objects in each namespace."""
        return Counter(one.key.namespace for one in self._objects.values() if one.managed)

    def routed(self) -> Iterator[tuple[Key, str, str]]:
        """Yield our VirtualServices: each with its host, and when it was created."""
        for one in self._objects.values():
            if one.managed and one.kind == "VirtualService":
                yield from ((one.key, host, one.created) for host in one.claims)

    def count_managed(self, kind: str) -> int:
        """Count our objects of a kind."""
        return sum(one.managed and one.kind == kind for one in self._objects.values())

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

    def _routed_by(self, one: Observed) -> Iterator[Key]:
        """Yield the names that an object of others has a say in."""
        for claim in one.claims:
            covered = self.entries.by_host.under(claim) if claim.startswith("*") else ()
            for host in {claim, *covered}:
                yield from self.entries.names_of(host)
        for parent in one.parents:
            for host in self.entries.hosts_of(self.entries.get(parent)):
                yield from self.entries.asking(host)

    def _parents(self, host: str) -> frozenset[Key]:
        """Return the entries for a host that HTTPRoutes have for their parents."""
        return (
            frozenset(one.key for one in self.entries.by_host.at(host) if any(self._children.at(one.key)))
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
    """Return the name at which an object is decided."""
    name = first_name(key.name)
    return key if name == key.name else replace(key, name=name)
