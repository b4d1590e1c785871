"""What the controller has observed, for use from several threads."""

import threading
from collections.abc import Hashable, Mapping, Sequence

from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.entry_index import Limited
from app.core.routes.index import Index, Neighbours
from app.core.routes.limits import Exceeded
from app.core.routes.observed import Observed


class Inventory:
    """The index of the core under a lock. Informers put in what they deliver; workers ask what decides a name."""

    def __init__(self, policy: GuardPolicy | None = None) -> None:
        self._lock = threading.Lock()
        self._index = Index(policy)

    def put_entry(self, old: ServiceEntry | None, new: ServiceEntry | None) -> frozenset[Key]:
        """Take a ServiceEntry that came, changed or went; returns the names whose decision may have changed."""
        with self._lock:
            return self._index.put_entry(old, new)

    def put_object(self, old: Observed | None, new: Observed | None) -> frozenset[Key]:
        """Take an object of an emitted kind, or an HTTPRoute, in the same way."""
        with self._lock:
            return self._index.put_object(old, new)

    def neighbours(self, key: Key) -> Neighbours:
        """Return all that decides a name."""
        with self._lock:
            return self._index.neighbours(key)

    def siblings(self, entry: ServiceEntry) -> Mapping[Hashable, ServiceEntry]:
        """Return an entry and those of its namespace that share a host with it, or with each other."""
        with self._lock:
            return self._index.entries.siblings(entry)

    def take_policy(self, policy: GuardPolicy) -> None:
        """Judge all entries anew: another policy is in force."""
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
        """Return the entries that exceed a limit since this was asked last."""
        with self._lock:
            return self._index.entries.newly_limited()

    def limited_counts(self) -> Mapping[tuple[str, ...], int]:
        """Count the entries that exceed a limit, by namespace and limit."""
        with self._lock:
            return self._index.entries.limited_counts()

    def names(self) -> frozenset[Key]:
        """Return every name that there is anything to decide about."""
        with self._lock:
            return self._index.names()

    def routed(self) -> Sequence[tuple[Key, str, str]]:
        """Return our VirtualServices: each with its host, and when it was created."""
        with self._lock:
            return tuple(self._index.routed())

    def count_managed(self, kind: str) -> int:
        """Count our objects of a kind."""
        with self._lock:
            return self._index.count_managed(kind)
