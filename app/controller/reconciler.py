"""The reconciler: it decides and applies the objects of one key."""

import logging
import time
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from app.controller.contention import Contention
from app.controller.entry_events import EntryEvents
from app.controller.inventory import Inventory
from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.candidates import age
from app.core.routes.index import Neighbours
from app.core.routes.observed import Observed
from app.core.routes.plan import Changes, changes, desired_at
from app.core.routes.virtual_service import Emitted
from app.kube.apply import apply_over, delete_seen, other_managers, reset_spec
from app.kube.client import Client
from app.kube.errors import ApiError
from app.kube.resources import EMITTED
from app.kube.timing import CLOCK, Clock
from app.policyfile import PolicyFile
from app.telemetry.logs import tell

log = logging.getLogger(__name__)


Versions = Mapping[tuple[str, Key], str]
"""The resource version of each object, by its kind and place."""


@dataclass(frozen=True, slots=True)
class _Left:
    """Everything that decides a key, after the writes of its last reconciliation."""

    policy: GuardPolicy
    entries: Hashable
    versions: Versions


class Reconciler:
    """Brings the objects of one key (namespace and name) to the desired state."""

    def __init__(
        self,
        inventory: Inventory,
        client: Client,
        policy: PolicyFile,
        events: EntryEvents,
        clock: Clock = CLOCK,
    ) -> None:
        self._inventory = inventory
        self._events = events
        self._client = client
        self._policy = policy
        self._left: dict[Key, _Left] = {}
        self._contention = Contention[Key](clock)

    def settled(self, key: Key) -> bool:
        """Say, once, that since its reconciliation only our own writes to a key were observed.

        Resource versions are compared: an edit by another client has a different one than our write returned.
        """
        left = self._left.get(key)
        if left is None or left.policy is not self._policy.current:
            return False
        neighbours = self._inventory.neighbours(key)
        if left.entries != _entries(neighbours) or left.versions != _versions(neighbours.observed):
            return False
        self._left.pop(key, None)
        return True

    def reconcile(self, key: Key) -> Changes:
        """Write the differences, and return them.

        Raises ApiError if the API server rejects one, and Contested if another client undoes our writes: then nothing
        is written yet.
        """
        if self.settled(key):
            return Changes()
        self._left.pop(key, None)
        policy, neighbours = self._policy.current, self._inventory.neighbours(key)
        todo = changes(desired_at(key, neighbours, explained=False), neighbours.observed)
        versions, situation = _versions(neighbours.observed), (policy, _entries(neighbours))
        if todo.apply:
            self._contention.check(key, situation)
        self._write(key, todo, versions)
        if todo.apply:
            self._contention.written(key, situation)
        if (todo.apply or todo.delete) and not todo.foreign:
            self._left[key] = _Left(policy, situation[1], versions)
        return todo

    def managers(self, key: Key) -> tuple[str, ...]:
        """Return the other field managers of our objects with a name, as far as the API server tells."""
        found = dict[str, None]()
        for stored in self._inventory.neighbours(key).observed:
            if stored.managed and stored.key.namespace == key.namespace:
                with suppress(ApiError):
                    document = self._client.get(EMITTED[stored.kind], key.namespace, stored.key.name)
                    found |= dict.fromkeys(other_managers(document))
        return tuple(found)

    def _write(self, key: Key, todo: Changes, versions: dict[tuple[str, Key], str]) -> None:
        """Make the writes, and then tell of those that were made, though a later one failed; updates `versions`."""
        began, applied, deleted = time.monotonic(), list[tuple[Emitted, Observed | None]](), list[Observed]()
        try:
            for stored in todo.delete:
                self._delete(stored)
                deleted.append(stored)
                del versions[stored.kind, stored.key]
            for emitted, current in todo.apply:
                versions[emitted.kind, emitted.key] = self._apply(emitted, current)
                applied.append((emitted, current))
        finally:
            self._tell(key, Changes(tuple(applied), tuple(deleted)), time.monotonic() - began)

    def _tell(self, key: Key, done: Changes, seconds: float) -> None:
        if done.apply or done.delete:
            tell(log, "reconciled", _line(key, done, seconds))
        for emitted, current in done.apply:
            self._events.applied(emitted, current)

    def owner(self, key: Key) -> ServiceEntry | None:
        """Return the oldest entry of the namespace that asks for objects with a name."""
        entries = (neighbour.entry for neighbour in self._inventory.neighbours(key).entries)
        return min(entries, key=age, default=None)

    def _apply(self, emitted: Emitted, current: Observed | None) -> str:
        """Apply server-side: only over the observed version of our own object, and never over an object of others.

        Returns the new resource version, or "" if the stored object still differs and another write may change it.
        Where the API server fills in a field of its own, none does.
        """
        resource, manifest = EMITTED[emitted.kind], emitted.manifest
        stored = apply_over(self._client, resource, manifest, current.resource_version if current else None)
        log.debug("applied %s %s for ServiceEntry %s", emitted.kind, emitted.key, emitted.owner.key)
        version: str = stored["metadata"]["resourceVersion"]
        if stored["spec"] == manifest["spec"]:
            return version
        reset = reset_spec(self._client, resource, manifest, stored)
        after: str = reset["metadata"]["resourceVersion"]
        return after if after == version or reset["spec"] == manifest["spec"] else ""

    def _delete(self, stored: Observed) -> None:
        resource, key, seen = EMITTED[stored.kind], stored.key, {"uid": stored.uid, "version": stored.resource_version}
        if delete_seen(self._client, resource, key.namespace, key.name, **seen):
            log.debug("deleted %s %s", stored.kind, key)


def _entries(neighbours: Neighbours) -> Hashable:
    """Return what decides a name beside its objects, for comparison by identity: a changed entry is a new object."""
    return neighbours.entries, neighbours.others, neighbours.parents, neighbours.waypoints


def _versions(observed: Iterable[Observed]) -> dict[tuple[str, Key], str]:
    return {(stored.kind, stored.key): stored.resource_version for stored in observed}


def _line(key: Key, done: Changes, seconds: float) -> dict[str, object]:
    """Say what a reconciliation changed."""
    return {
        "namespace": key.namespace,
        "name": key.name,
        "applied": tuple(emitted.kind for emitted, _ in done.apply),
        "deleted": tuple(stored.kind for stored in done.delete),
        "entries": tuple({str(emitted.owner.key): None for emitted, _ in done.apply}),
        "milliseconds": round(seconds * 1000, 3),
    }
