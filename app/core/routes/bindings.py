"""Which ServiceEntries are bound to which waypoints, kept up to date as entries and labels of namespaces change.

Labels of a namespace that was never seen are unknown: its entries are then bound by their own labels and status only.
A change of labels concerns the entries of the namespace, those that are bound to a waypoint in it, and entries of
other namespaces that share a host and a waypoint with one of them; no others are looked at.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar

from app.core.resources.namespaces import Namespace, waypoint_of
from app.core.resources.records import Record
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.candidates import Candidate

A = TypeVar("A", bound=Hashable)
B = TypeVar("B")
_Nested: TypeAlias = dict[A, dict[Hashable, B]]


class Waypoints(Record):
    """What waypoints mean for one name."""

    bound: tuple[tuple[Key, Key], ...] = ()
    """The namespace's own entries for the host that are bound, each with its waypoint."""
    plain: frozenset[str] = frozenset()
    """Namespaces of those waypoints whose labels say that no Pod gets a sidecar."""
    hidden: tuple[tuple[str, Key], ...] = ()
    """Namespaces of waypoints that must not see a VirtualService for the host, each with the entry that would suffer.

    At a waypoint, istiod takes a VirtualService for every host that overlaps with its own: that of `api.example.com`
    for an entry of `*.example.com` as well, whose calls it would all lead to the one host.
    """


NO_WAYPOINTS = Waypoints()


class Bindings:
    """The entries that are bound to a waypoint; not safe for threads."""

    def __init__(self) -> None:
        self._namespaces: dict[str, Namespace] = {}
        self._entries: _Nested[str, ServiceEntry] = {}  # by namespace and handle
        self._bound: dict[Hashable, tuple[ServiceEntry, Key]] = {}  # with the waypoint
        self._users: _Nested[str, ServiceEntry] = {}  # by the namespace of the waypoint
        self._hosts: _Nested[str, tuple[Key, Key]] = {}  # an entry and its waypoint, by canonical host
        self._touched: dict[Key, None] = {}

    def namespace(self, name: str) -> Namespace | None:
        """Return a namespace, None if its labels are unknown."""
        return self._namespaces.get(name)

    def put(self, old: ServiceEntry | None, new: ServiceEntry | None, handle: Hashable) -> bool:
        """Process an added, changed or deleted entry, and return whether its waypoint has changed.

        A changed waypoint may also change what is emitted for entries whose hosts overlap.
        """
        if old:
            _drop(self._entries, old.key.namespace, handle)
        if new:
            self._entries.setdefault(new.key.namespace, {})[handle] = new
        before = self._bound.get(handle)
        self._bind(new, handle)
        after = self._bound.get(handle)
        return _meaning(before) != _meaning(after)

    def put_namespace(self, name: str, new: Namespace | None) -> Collection[ServiceEntry]:
        """Take the labels of a namespace, None if it is gone; returns the entries that the change concerns."""
        old = self._namespaces.pop(name, None)
        if new:
            self._namespaces[name] = new
        found = self._users.get(name, {}).copy() if _plain(old) != _plain(new) else {}
        for handle, entry in self._entries.get(name, {}).items():
            moved = waypoint_of(entry, old) != waypoint_of(entry, new)
            if moved:
                self._bind(entry, handle)
            if moved or _ambient(old) != _ambient(new):
                found[handle] = entry
        self._touched |= dict.fromkeys(one.key for one in found.values())
        return found.values()

    def touched(self) -> frozenset[Key]:
        """Return the entries of which waypoints may show something else than when this was asked last."""
        touched, self._touched = frozenset(self._touched), {}
        return touched

    def waypoint(self, entry: ServiceEntry) -> Key | None:
        """Return the waypoint that serves an entry."""
        return waypoint_of(entry, self._namespaces.get(entry.key.namespace))

    def at(self, home: str, entries: Mapping[Hashable, Candidate], overlapping: Iterable[str]) -> Waypoints:
        """Return what waypoints mean for the entries of a namespace that name a host; others overlap with that."""
        if not self._bound:
            return NO_WAYPOINTS
        pairs = ((one.key, self._bound[handle][1]) for handle, one in entries.items() if handle in self._bound)
        bound = tuple(sorted(pairs, key=str))
        plain = (key.namespace for _, key in bound if _plain(self._namespaces.get(key.namespace)))
        hidden = sorted({one for host in overlapping for one in self._hiding(home, host)}, key=str)
        return Waypoints(bound, frozenset(plain), tuple(hidden)) if bound or hidden else NO_WAYPOINTS

    def shared(self, entry: ServiceEntry) -> tuple[str, Key, Key] | None:
        """Return a host, a waypoint, and an entry of another namespace that the waypoint also serves for the host."""
        waypoint = self.waypoint(entry) if self._bound else None
        if waypoint is None:
            return None
        for host in entry.hosts:
            others = self._hosts.get(host.canonical, {}).values()
            found = (key for key, at in others if at == waypoint and key.namespace != entry.key.namespace)
            if other := min(found, key=str, default=None):
                return host.canonical, waypoint, other
        return None

    def _hiding(self, home: str, host: str) -> Iterator[tuple[str, Key]]:
        """Yield the namespaces of waypoints that take a VirtualService of `home` for the entries that name a host."""
        for key, waypoint in self._hosts.get(host, {}).values():
            if home in {key.namespace, waypoint.namespace}:
                yield waypoint.namespace, key

    def _bind(self, new: ServiceEntry | None, handle: Hashable) -> None:
        """Bind an entry again, and note the entries of others with which it begins or ends to share a waypoint."""
        before = self._bound.pop(handle, None)
        if before:
            _drop(self._users, before[1].namespace, handle)
            for host in _hosts(before[0]):
                _drop(self._hosts, host, handle)
        waypoint = self.waypoint(new) if new else None
        if new and waypoint:
            self._bound[handle] = new, waypoint
            self._users.setdefault(waypoint.namespace, {})[handle] = new
            for host in _hosts(new):
                self._hosts.setdefault(host, {})[handle] = new.key, waypoint
        for place in _meaning(before) ^ _meaning(self._bound.get(handle)):
            self._touch(*place, handle)

    def _touch(self, host: str, waypoint: Key, handle: Hashable) -> None:
        found = self._hosts.get(host, {}).items()
        self._touched |= {key: None for other, (key, at) in found if at == waypoint and other != handle}


def _hosts(entry: ServiceEntry) -> Iterator[str]:
    return (host.canonical for host in entry.hosts)


def _meaning(bound: tuple[ServiceEntry, Key] | None) -> frozenset[tuple[str, Key]]:
    """Return the hosts of an entry, each with its waypoint."""
    return frozenset((host, bound[1]) for host in _hosts(bound[0])) if bound else frozenset()


def _plain(namespace: Namespace | None) -> bool:
    """Say whether labels are known, and give no Pod a sidecar."""
    return namespace is not None and not namespace.injected


def _ambient(namespace: Namespace | None) -> bool:
    return namespace is not None and namespace.ambient


def _drop(values: dict[A, dict[Hashable, B]], outer: A, inner: Hashable) -> None:
    """Remove a value; an outer key is there as long as it has values."""
    found = values.get(outer, {})
    found.pop(inner, None)
    if not found:
        values.pop(outer, None)
