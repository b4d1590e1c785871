"""ServiceEntries by host, each reviewed once under the policy and the limits of its namespace."""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping

from app.core.policy.model import GuardPolicy, default_policy
from app.core.resources.ambient import NOTHING
from app.core.resources.hosts import object_name
from app.core.resources.records import replace
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.budget import Budgets
from app.core.routes.candidates import Candidate, candidate
from app.core.routes.host_entries import Summary
from app.core.routes.host_index import HostIndex
from app.core.routes.limits import Exceeded

SEEN = frozenset({"exempt", "exempt-until", "virtual-service"})
"""Annotations that decide whether objects are emitted."""


Limited = tuple[ServiceEntry, Exceeded]
"""An entry and the limit that it exceeds, alone or together with others of its namespace."""


class EntryIndex:
    """Entries under a policy; not safe for threads."""

    def __init__(self, policy: GuardPolicy | None = None) -> None:
        self.policy = policy or default_policy()
        self.by_host = HostIndex()
        self._hosts: dict[str, str] = {}  # by the names of their objects
        self._alone: dict[Hashable, Candidate] = {}  # by the handles of entries
        self._by_key: dict[Key, ServiceEntry] = {}
        self._budgets = Budgets()
        self._limited: dict[Hashable, Limited] = {}
        self._newly: dict[Hashable, Limited] = {}

    def put(self, old: ServiceEntry | None, new: ServiceEntry | None, handle: Hashable) -> frozenset[Key]:
        """Process an added, changed or deleted entry; returns the names to reconcile."""
        state = new or old
        if state is None:
            return frozenset()
        names, home, limited = _names(old) | _names(new), state.key.namespace, handle in self._limited
        after = candidate(new, self.policy) if new else None
        before = {host: self._seen_at(host, home) for host in names} if self._seen_otherwise(handle, after) else {}
        others = self._replace(old, after, handle)
        found = {Key(home, name) for name in names.values()}
        hosts = _names(old).keys() ^ _names(new).keys()
        if before or limited is not (handle in self._limited):
            hosts = set(names)
        found.update(self._told(hosts, before, home))
        flipped = {host for other in others for host in _names(self._alone[other].entry)}
        found.update(self._told(flipped, {}, home))
        return frozenset(found)

    def take_policy(self, policy: GuardPolicy) -> None:
        """Review all entries again, because the policy has changed; every name may have a different result."""
        self.policy, self._budgets = policy, Budgets()
        handles = defaultdict[str, list[Hashable]](list)
        for handle, alone in self._alone.items():
            handles[alone.key.namespace].append(handle)
        # One namespace after the other, so that the candidates of few entries exist twice.
        for some in handles.values():
            for handle in some:
                self._alone[handle] = candidate(self._alone[handle].entry, policy)
                self._budgets.change(handle, None, self._alone[handle])
            for handle in some:
                self._place(handle)

    def candidates(self) -> Iterator[Candidate]:
        """Yield every entry."""
        yield from self._alone.values()

    def hosts(self) -> Iterator[str]:
        """Yield every canonical host that an entry names, in alphabetical order."""
        yield from sorted(self._hosts.values())

    def host(self, name: str) -> str:
        """Return the host whose objects have a name, "" if no entry names it."""
        return self._hosts.get(name, "")

    def asking(self, host: str) -> Iterator[Key]:
        """Yield the object names in all namespaces for a host and for wildcards that overlap it."""
        for met in self.by_host.meeting(host):
            yield from self.names_of(met)

    def names_of(self, host: str) -> Iterator[Key]:
        """Yield the object names in all namespaces for exactly this host."""
        name = object_name(host)
        return (Key(namespace, name) for namespace in self.by_host.at(host).namespaces)

    def names(self) -> Iterator[Key]:
        """Yield every name that an entry asks for."""
        for host in self._hosts.values():
            yield from self.names_of(host)

    def get(self, key: Key) -> ServiceEntry | None:
        """Return an entry."""
        return self._by_key.get(key)

    def hosts_of(self, *entries: ServiceEntry | None) -> Iterator[str]:
        """Yield the hosts of some entries."""
        return (host for entry in entries for host in _names(entry))

    def siblings(self, entry: ServiceEntry) -> dict[Hashable, ServiceEntry]:
        """Return an entry, and those of its namespace that share a host with it or each other, by their handles."""
        found: dict[Hashable, ServiceEntry] = {}
        waiting, seen = [host.canonical for host in entry.hosts], set[str]()
        while waiting:
            host = waiting.pop()
            if host in seen:
                continue
            seen.add(host)
            for handle, sibling in self.by_host.at(host).of(entry.key.namespace).items():
                if handle not in found:
                    found[handle] = sibling.entry
                    waiting.extend(each.canonical for each in sibling.entry.hosts)
        return found

    def limited(self) -> tuple[Limited, ...]:
        """Return the entries that exceed a limit."""
        return tuple(self._limited.values())

    def exceeded(self, handle: Hashable) -> Exceeded | None:
        """Return the limit that an entry exceeds, if any."""
        return self._limited[handle][1] if handle in self._limited else None

    def newly_limited(self) -> tuple[Limited, ...]:
        """Return the entries that have exceeded a limit since the last call."""
        newly = tuple(found for handle, found in self._newly.items() if handle in self._limited)
        self._newly.clear()
        return newly

    def limited_counts(self) -> Mapping[tuple[str, ...], int]:
        """Count the entries that exceed a limit, by namespace and limit."""
        return Counter((entry.key.namespace, exceeded.bound.value) for entry, exceeded in self._limited.values())

    def _seen_at(self, host: str, home: str) -> Summary | None:
        """Return what other namespaces see of the entries for a host; None if no other namespace names it."""
        entries = self.by_host.at(host)
        return entries.summary if any(namespace != home for namespace in entries.namespaces) else None

    def _told(self, hosts: Collection[str], before: Mapping[str, Summary | None], home: str) -> Iterator[Key]:
        """Yield the names to reconcile after entries of a namespace have changed at some hosts.

        If other namespaces see the entries of a host as `before`, nothing changes for most of them.
        """
        met = {other for host in hosts for other in self.by_host.meeting(host) if other != host}
        for host in hosts:
            seen = self._seen_at(host, home)
            if host not in before or seen != before[host]:
                met.add(host)
            elif seen:
                yield from (Key(namespace, object_name(host)) for namespace in seen.named)
        for host in met:
            yield from self.names_of(host)

    def _seen_otherwise(self, handle: Hashable, after: Candidate | None) -> bool:
        """Say whether a change of an entry may be visible to other namespaces."""
        before = self._alone.get(handle)
        if before is None or after is None:
            return True
        return before.reasons != after.reasons or _stance(before.entry) != _stance(after.entry)

    def _replace(self, old: ServiceEntry | None, after: Candidate | None, handle: Hashable) -> set[Hashable]:
        """Replace a candidate, and return the other entries that now fit, or no longer fit."""
        before = self._alone.pop(handle, None)
        if old:
            self._forget(old, handle, kept=_names(after.entry if after else None).keys())
        if after:
            self._by_key[after.key] = after.entry
            self._alone[handle] = after
            self._hosts.update((name, host) for host, name in _names(after.entry).items())
        flipped = self._budgets.change(handle, before, after)
        for each in flipped | {handle}:
            self._place(each)
        return flipped - {handle}

    def _forget(self, entry: ServiceEntry, handle: Hashable, kept: Collection[str]) -> None:
        """Remove an entry from its hosts, except from kept ones, which it still names."""
        self._by_key.pop(entry.key, None)
        for host, name in _names(entry).items():
            if host not in kept:
                self.by_host.drop(host, entry.key.namespace, handle)
                if host not in self.by_host:
                    self._hosts.pop(name, None)

    def _place(self, handle: Hashable) -> None:
        """Add an entry to its hosts, with the limit that it exceeds."""
        before = self._limited.pop(handle, None)
        alone = self._alone.get(handle)
        if alone is None:
            return
        if alone.exceeded is None and (exceeded := self._budgets.exceeded(handle, alone)):
            alone = replace(alone, exceeded=exceeded)
        for host in _names(alone.entry):
            self.by_host.put(host, handle, alone)
        if alone.exceeded:
            self._limited[handle] = alone.entry, alone.exceeded
            if before is None or (before[0].uid, before[1]) != (alone.entry.uid, alone.exceeded):
                self._newly[handle] = alone.entry, alone.exceeded


def _names(entry: ServiceEntry | None) -> dict[str, str]:
    """Return the names of the objects that an entry may affect, by canonical host."""
    return {host.canonical: host.object_name for host in entry.hosts if host.object_name} if entry else {}


def _stance(entry: ServiceEntry) -> ServiceEntry:
    """Return the parts of an entry that other namespaces see, without its overrides."""
    kept = {name: text for name, text in entry.annotations.items() if name in SEEN}
    return replace(entry, annotations=kept, uid="", written="", hosts=(), problems=(), ambient=NOTHING)
