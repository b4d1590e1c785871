"""The objects of a simulated API server: one resource version for all, a history for watches, optimistic locks."""

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.kube.resources import Resource
from tests.model.fields import FieldConflict, Object, Owned, tree

Place = tuple[Resource, str, str]
"""A resource, a namespace (empty for a cluster-scoped object) and a name."""
BEGINNING = datetime(2026, 7, 1, tzinfo=UTC)
FIRST_VERSION = 100


class Refused(Exception):
    """A request that the API server does not carry out: a status code, a reason and a message."""

    def __init__(self, status: int, reason: str, message: str = "") -> None:
        super().__init__(message or reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in etcd."""

    place: Place
    uid: str
    created: str
    version: int
    owned: Owned
    deleted: str = ""

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels."""
        return {path[2]: value for path, value in self.owned.leaves.items() if path[:2] == ("metadata", "labels")}

    @property
    def manifest(self) -> Object:
        """The object as a client reads it."""
        resource, namespace, name = self.place
        found = tree(self.owned.leaves)
        metadata = {
            **found.pop("metadata"),
            **({"namespace": namespace} if namespace else {}),
            **({"deletionTimestamp": self.deleted} if self.deleted else {}),
            "name": name,
            "uid": self.uid,
            "creationTimestamp": self.created,
            "resourceVersion": str(self.version),
            "managedFields": self.owned.managed_fields(resource.api_version),
        }
        return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **found}


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the history: ADDED, MODIFIED or DELETED, and the object."""

    type: str
    stored: Stored


Watcher = Callable[[Stored | None, Stored | None], None]
"""Is called with each write: the object before and after it."""


class Storage:
    """All objects. `clock` returns seconds since the beginning, `stamp` overrides the time of a creation."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.objects: dict[Place, Stored] = {}
        self.history: list[Change] = []
        self.compacted = FIRST_VERSION
        self.version = FIRST_VERSION
        self.on_write: Watcher = lambda _before, _after: None
        self.stamp: Callable[[Place, str], str] = lambda _place, now: now
        self._clock = clock
        self._numbers = itertools.count(1)

    def at(self, place: Place) -> Stored:
        """Return an object. Raises Refused."""
        try:
            return self.objects[place]
        except KeyError:
            raise Refused(404, "NotFound", f'{place[0].plural} "{place[2]}" not found') from None

    def all(self, resource: Resource, namespace: str) -> Iterator[Stored]:
        """Yield the objects of a resource in a namespace, or in all, in the order of their keys."""
        for place in sorted((each for each in self.objects if each[0] == resource), key=lambda each: each[1:]):
            if namespace in {"", place[1]}:
                yield self.objects[place]

    def since(self, resource: Resource, version: int) -> list[Change]:
        """Return what changed after a version. Raises Refused."""
        if version < self.compacted:
            raise Refused(410, "Expired", f"too old resource version: {version} ({self.compacted})")
        return [each for each in self.history if each.stored.version > version and each.stored.place[0] == resource]

    def compact(self) -> None:
        """Forget the history."""
        self.compacted, self.history = self.version, []

    def create(self, place: Place, manager: str, manifest: Object) -> Stored:
        """Store a new object. Raises Refused."""
        if place in self.objects:
            raise Refused(409, "AlreadyExists", f'{place[0].plural} "{place[2]}" already exists')
        return self._put(None, self._new(place, Owned().update(manager, manifest, self._now())))

    def apply(self, place: Place, manager: str, manifest: Object, *, force: bool) -> Stored:
        """Apply server-side. Raises Refused."""
        current = self.objects.get(place)
        if current:
            _check(current, manifest["metadata"].get("resourceVersion"))
        try:
            before = current.owned if current else Owned()
            owned = before.apply(manager, manifest, self._now(), force=force)
        except FieldConflict as error:
            raise Refused(409, "Conflict", str(error)) from None
        return self._put(current, replace(current, owned=owned) if current else self._new(place, owned))

    def update(self, place: Place, manager: str, manifest: Object) -> Stored:
        """Replace an object. Raises Refused."""
        current = self.at(place)
        _check(current, manifest["metadata"].get("resourceVersion"))
        return self._put(current, replace(current, owned=current.owned.update(manager, manifest, self._now())))

    def delete(self, place: Place, preconditions: Mapping[str, Any]) -> Stored:
        """Delete an object, or note that it is to be deleted if it has finalizers. Raises Refused."""
        current = self.at(place)
        _check(current, preconditions.get("resourceVersion"))
        if preconditions.get("uid") not in {None, current.uid}:
            raise Refused(409, "Conflict", "the UID in the precondition does not match")
        if any(path[:2] == ("metadata", "finalizers") for path in current.owned.leaves):
            return current if current.deleted else self._put(current, replace(current, deleted=self._now()))
        return self._drop(current)

    def _put(self, current: Stored | None, wanted: Stored) -> Stored:
        if current and current.owned is wanted.owned and current.deleted == wanted.deleted:
            return current
        if wanted.deleted and not any(path[:2] == ("metadata", "finalizers") for path in wanted.owned.leaves):
            return self._drop(wanted)
        self.version += 1
        stored = replace(wanted, version=self.version)
        self.objects[stored.place] = stored
        self.history.append(Change("MODIFIED" if current else "ADDED", stored))
        self.on_write(current, stored)
        return stored

    def _drop(self, current: Stored) -> Stored:
        self.version += 1
        before = self.objects.pop(current.place)
        gone = replace(current, version=self.version)
        self.history.append(Change("DELETED", gone))
        self.on_write(before, None)
        return gone

    def _new(self, place: Place, owned: Owned) -> Stored:
        uid = str(uuid.UUID(int=next(self._numbers)))
        return Stored(place, uid, self.stamp(place, self._now()), 0, owned)

    def _now(self) -> str:
        return (BEGINNING + timedelta(seconds=int(self._clock()))).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check(current: Stored, version: str | None) -> None:
    if version and version != str(current.version):
        message = "the object has been modified; please apply your changes to the latest version and try again"
        raise Refused(409, "Conflict", message)
