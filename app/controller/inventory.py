"""What the controller has observed, indexed so that one key can be decided without looking at all the others."""

import threading
from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from app.core.hosts import covers
from app.core.plan import KINDS, Observed
from app.core.resources import Key, ServiceEntry

A = TypeVar("A", bound=Hashable)
B = TypeVar("B", bound=Hashable)
V = TypeVar("V")


class Inventory:
    """ServiceEntries and objects of the emitted kinds, ours and others'; safe for use from several threads.

    `put_entry` and `put_object` take what an informer delivers: the object as it was, None if it is new, and as it
    is, None if it is gone. They return the keys whose decision may have changed by it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[tuple[str, Key], Observed] = {}
        self._entries: _Index[Key, Key, ServiceEntry] = _Index()  # by the key of the objects they ask for
        self._asked: _Index[str, Key, Key] = _Index()  # those keys, by canonical host
        self._claims: _Index[str, tuple[str, Key], Observed] = _Index()  # others' objects, by what they claim

    def put_entry(self, old: ServiceEntry | None, new: ServiceEntry | None) -> frozenset[Key]:
        """Take a ServiceEntry that came, changed or went."""
        with self._lock:
            before = self._remove_entry(old) if old else set()
            after = self._add_entry(new) if new else set()
        return frozenset(before | after)

    def put_object(self, old: Observed | None, new: Observed | None) -> frozenset[Key]:
        """Take an object of an emitted kind that came, changed or went."""
        with self._lock:
            if old:
                self._remove_object(old)
            if new:
                self._add_object(new)
            return frozenset(key for one in (old, new) if one for key in (one.key, *self._asked_of(one)))

    def gather(self, key: Key) -> tuple[tuple[ServiceEntry, ...], tuple[Observed, ...]]:
        """Return all that decides a key: the entries that ask for it, and the objects of its name or host."""
        with self._lock:
            entries = tuple(self._entries.at(key))
            hosts = {host.canonical for entry in entries for host in entry.hosts if host.object_name == key.name}
            observed = {(one.kind, one.key): one for host in hosts for one in self._claimants(host)}
            observed |= {place: one for kind in KINDS if (one := self._objects.get(place := (kind, key)))}
        return entries, tuple(observed.values())

    def keys(self) -> frozenset[Key]:
        """Return every key that there is anything to decide about: asked for by an entry, or an object of ours."""
        with self._lock:
            return frozenset({*self._entries, *(one.key for one in self._objects.values() if one.managed)})

    def count_managed(self, kind: str) -> int:
        """Count our objects of a kind."""
        with self._lock:
            return sum(one.managed and one.kind == kind for one in self._objects.values())

    def _add_entry(self, entry: ServiceEntry) -> set[Key]:
        asked = dict(_asked_keys(entry))
        for host, key in asked.items():
            self._entries.put(key, entry.key, entry)
            self._asked.put(host, key, key)
        return set(asked.values())

    def _remove_entry(self, entry: ServiceEntry) -> set[Key]:
        asked = dict(_asked_keys(entry))
        for host, key in asked.items():
            self._entries.drop(key, entry.key)
            if key not in self._entries:
                self._asked.drop(host, key)
        return set(asked.values())

    def _add_object(self, one: Observed) -> None:
        place = (one.kind, one.key)
        self._objects[place] = one
        for claim in () if one.managed else one.claims:
            self._claims.put(claim, place, one)

    def _remove_object(self, one: Observed) -> None:
        place = (one.kind, one.key)
        self._objects.pop(place, None)
        for claim in one.claims:
            self._claims.drop(claim, place)

    def _asked_of(self, one: Observed) -> Iterator[Key]:
        for claim in () if one.managed else one.claims:
            hosts = self._asked if claim.startswith("*") else (claim,)
            for host in [host for host in hosts if covers(claim, host)]:
                yield from self._asked.at(host)

    def _claimants(self, host: str) -> Iterator[Observed]:
        yield from self._claims.at(host)
        for start in range(len(host) + 1):
            yield from self._claims.at(f"*{host[start:]}")


class _Index(Generic[A, B, V]):
    """Values by two keys; an outer key is there as long as it has values."""

    def __init__(self) -> None:
        self._values: dict[A, dict[B, V]] = {}

    def __contains__(self, outer: A) -> bool:
        return outer in self._values

    def __iter__(self) -> Iterator[A]:
        return iter(self._values)

    def at(self, outer: A) -> Iterable[V]:
        return self._values.get(outer, {}).values()

    def put(self, outer: A, inner: B, value: V) -> None:
        self._values.setdefault(outer, {})[inner] = value

    def drop(self, outer: A, inner: B) -> None:
        values = self._values.get(outer, {})
        values.pop(inner, None)
        if not values:
            self._values.pop(outer, None)


def _asked_keys(entry: ServiceEntry) -> Iterator[tuple[str, Key]]:
    for host in entry.hosts:
        if host.object_name:
            yield host.canonical, Key(entry.key.namespace, host.object_name)
