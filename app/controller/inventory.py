"""What the controller has observed, for use from several threads."""

import threading
from collections.abc import Hashable, Mapping, Sequence

from app.core.policy.model import GuardPolicy
from app.core.resources.namespaces import Namespace
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.entry_index import Limited
from app.core.routes.index import Index, Neighbours
from app.core.routes.limits import Exceeded
from app.core.routes.observed import Observed
from app.core.routes.waypoints import at_waypoint
from app.core.rules.verdict import Verdict


class Inventory:
    """The core's index with a lock: reflectors update it, and workers read what decides an object name."""

    def __init__(self, policy: GuardPolicy | None = None) -> None:
        self._lock = threading.Lock()
        self._index = Index(policy)

    def put_entry(self, old: ServiceEntry | None, new: ServiceEntry | None) -> frozenset[Key]:
        """Process an added, changed or deleted ServiceEntry; returns the object names to reconcile."""
        with self._lock:
            return self._index.put_entry(old, new)

    def put_object(self, old: Observed | None, new: Observed | None) -> frozenset[Key]:
        """Process an object of an emitted kind, or an HTTPRoute, in the same way."""
        with self._lock:
            return self._index.put_object(old, new)

    def put_namespace(self, name: str, new: Namespace | None) -> frozenset[Key]:
        """Take the labels of a namespace in the same way."""
        with self._lock:
            return self._index.put_namespace(name, new)

    def touched(self) -> frozenset[Key]:
        """Return the entries of which waypoints may show something else than when this was asked last."""
        with self._lock:
            return self._index.bindings.touched()

    def at_waypoint(self, entry: ServiceEntry, verdict: Verdict, policy: GuardPolicy) -> Verdict:
        """Add the findings of an ambient mesh, which need other entries, to the verdict on an entry."""
        with self._lock:
            return at_waypoint(entry, verdict, self._index.bindings, policy)

    def neighbours(self, key: Key) -> Neighbours:
        """Return everything that decides the object of a name."""
        with self._lock:
            return self._index.neighbours(key)

    def siblings(self, entry: ServiceEntry) -> Mapping[Hashable, ServiceEntry]:
        """Return an entry and those of its namespace that share a host with it, or with each other."""
        with self._lock:
            return self._index.entries.siblings(entry)

    def take_policy(self, policy: GuardPolicy) -> None:
        """Review all entries again, because the policy has changed."""
        with self._lock:
            self._index.entries.take_policy(policy)

    def exceeded(self, key: Key) -> Exceeded | None:
        """Return the limit that an entry exceeds, if any."""
        with self._lock:
            return self._index.entries.exceeded(key)

    def limited(self) -> Sequence[Limited]:
        """Return the entries that exceed a limit."""
        with self._lock:
            return self._index.entries.limited()

    def newly_limited(self) -> Sequence[Limited]:
        """Return the entries that have exceeded a limit since the last call."""
        with self._lock:
            return self._index.entries.newly_limited()

    def limited_counts(self) -> Mapping[tuple[str, ...], int]:
        """Count the entries that exceed a limit, by namespace and limit."""
        with self._lock:
            return self._index.entries.limited_counts()

    def names(self) -> frozenset[Key]:
        """Return every object name that an entry asks for or that an emitted object has."""
        with self._lock:
            return self._index.names()

    def routed(self) -> Sequence[tuple[Key, str, str]]:
        """Return the emitted VirtualServices, each with its host and creation time."""
        with self._lock:
            return tuple(self._index.routed())

    def count_managed(self, kind: str) -> int:
        """Count the emitted objects of a kind."""
        with self._lock:
            return self._index.count_managed(kind)
