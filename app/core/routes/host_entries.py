"""The entries for one host in all namespaces, and a summary that decides for one namespace.

A thousand namespaces may have entries for a host. The result in one of them depends only on the oldest of the others.
So the summary is computed once for all of them, and again when an entry of the host has changed.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import islice

from app.core.resources.records import Record
from app.core.resources.service_entry import Key
from app.core.routes.candidates import PUBLIC, Age, Candidate, age, disagreeing
from app.core.routes.observed import KINDS
from app.core.rules.retries import NO_ONE

HTTP_PORT = 80
"""istiod writes the routes of this port for every host of a VirtualService, even if no entry declares it."""


class EntryRef(Record, order=True):
    """An entry that counts in other namespaces, and the reason why nothing is emitted for it, if any."""

    age: Age
    key: Key
    reason: str = ""

    @property
    def created(self) -> str:
        """The creation time; "" if it was never stored."""
        return self.age[1]


EntryRefs = tuple[EntryRef, ...]
"""The oldest entries of up to two namespaces: at least one belongs to another namespace than the one that decides."""

Protocols = Mapping[int, Mapping[str, EntryRefs]]
"""The entries that declare a port with a protocol, by the number of the port."""


class Summary(Record):
    """The summary of the entries of a host for other namespaces; tuples by kind are in the order of KINDS."""

    ports: frozenset[int]
    """The numbers of all ports that istiod may serve with a VirtualService of the host."""
    oldest: EntryRefs
    public: tuple[EntryRefs, ...]
    """For each kind public entries for which an object is emitted."""
    silent: tuple[EntryRefs, ...]
    """For each kind entries without an emitted object."""
    without_port_80: tuple[str, ...]
    """The first two namespaces whose entries have no port 80, where a route for it would be new."""
    contested: Protocols
    """The ports with more than one declared protocol, and the visibility of each declaration."""
    named: frozenset[str]
    """Namespaces with an entry that is exported to others by name, for which all other entries count."""

    @classmethod
    def of(cls, host: str, candidates: Iterable[Candidate]) -> "Summary":
        """Summarise the entries that name a host."""
        ordered = sorted(candidates, key=lambda candidate: age(candidate.entry))
        return cls(
            ports=frozenset(port.number for candidate in ordered for port in candidate.entry.ports if port.served),
            oldest=_first(ref(candidate) for candidate in ordered),
            public=tuple(
                _first(
                    ref(candidate)
                    for candidate in ordered
                    if PUBLIC in candidate.seen_by and not candidate.withheld(kind, host)
                )
                for kind in KINDS
            ),
            silent=tuple(
                _first(ref(candidate, reason) for candidate in ordered if (reason := candidate.withheld(kind, host)))
                for kind in KINDS
            ),
            without_port_80=tuple(_lacking(ordered))[:2],
            contested=_contested(ordered),
            named=frozenset(candidate.key.namespace for candidate in ordered if by_name(candidate)),
        )


class HostEntries:
    """The candidates that name a host, by namespace and handle.

    Most hosts have one candidate, which needs no dictionaries: those are half of the memory for a host.
    """

    __slots__ = ("_by_namespace", "_handle", "_host", "_only", "_summary")

    def __init__(self, host: str) -> None:
        self._host = host
        self._only: Candidate | None = None
        self._handle: Hashable = None
        self._by_namespace = _NO_NAMESPACES  # own once there are two candidates
        self._summary: Summary | None = None

    def __bool__(self) -> bool:
        return self._only is not None or bool(self._by_namespace)

    def __iter__(self) -> Iterator[Candidate]:
        if self._only:
            yield self._only
        for candidates in self._by_namespace.values():
            yield from candidates.values()

    @property
    def namespaces(self) -> Iterable[str]:
        """The namespaces whose entries name the host."""
        return (self._only.key.namespace,) if self._only else self._by_namespace.keys()

    def of(self, namespace: str) -> Mapping[Hashable, Candidate]:
        """Return the candidates of a namespace."""
        if self._only:
            return {self._handle: self._only} if self._only.key.namespace == namespace else {}
        return self._by_namespace.get(namespace, {})

    def has(self, key: Key) -> bool:
        """Say whether an entry names the host."""
        return any(candidate.key == key for candidate in self.of(key.namespace).values())

    @property
    def ports(self) -> Iterator[int]:
        """The numbers of ports that istiod may serve with a VirtualService of the host; some of them repeatedly."""
        return (port.number for candidate in self for port in candidate.entry.ports if port.served)

    def put(self, handle: Hashable, candidate: Candidate) -> None:
        """Add a candidate, or replace the one with the same handle."""
        self._summary = None
        if not self or (self._only and self._handle == handle):
            self._only, self._handle = candidate, handle
            return
        if self._only:
            self._by_namespace = {self._only.key.namespace: {self._handle: self._only}}
            self._only = None
        self._by_namespace.setdefault(candidate.key.namespace, {})[handle] = candidate

    def drop(self, namespace: str, handle: Hashable) -> None:
        """Remove a candidate."""
        self._summary = None
        if self._handle == handle:
            self._only = None
        candidates = self._by_namespace.get(namespace, {})
        candidates.pop(handle, None)
        if not candidates:
            self._by_namespace.pop(namespace, None)

    @property
    def summary(self) -> Summary:
        """The summary for other namespaces, cached until a candidate changes."""
        found = self._summary or Summary.of(self._host, self)
        if next(islice(self, 1, None), None):
            self._summary = found
        return found


_NO_NAMESPACES: dict[str, dict[Hashable, Candidate]] = {}


def by_name(candidate: Candidate) -> bool:
    """Say whether an entry is exported to other namespaces by their names."""
    return PUBLIC not in candidate.seen_by and bool(candidate.seen_by - {candidate.key.namespace})


def other(refs: EntryRefs, namespace: str) -> EntryRef | None:
    """Return the oldest of other namespaces."""
    return next((each for each in refs if each.key.namespace != namespace), None)


def _lacking(candidates: Iterable[Candidate]) -> Iterator[str]:
    ports = defaultdict[str, set[int]](set)
    for candidate in candidates:
        ports[candidate.key.namespace].update(port.number for port in candidate.entry.ports)
    return (namespace for namespace, numbers in sorted(ports.items()) if HTTP_PORT not in numbers)


def _contested(candidates: Iterable[Candidate]) -> Protocols:
    """Return the ports with more than one declared protocol, as far as other namespaces see them."""
    return {
        number: {protocol: _seen_elsewhere(declaring) for protocol, declaring in protocols.items()}
        for number, protocols in disagreeing(candidates).items()
    }


def _seen_elsewhere(candidates: Iterable[Candidate]) -> EntryRefs:
    return _first(ref(candidate) for candidate in candidates if candidate.seen_by - {candidate.key.namespace, NO_ONE})


def ref(candidate: Candidate, reason: str = "") -> EntryRef:
    """Return the part of an entry that counts in other namespaces."""
    return EntryRef(age(candidate.entry), candidate.key, reason)


def _first(refs: Iterable[EntryRef]) -> EntryRefs:
    """Keep the first of each of the first two namespaces."""
    found = list[EntryRef]()
    for each in refs:
        if not found or each.key.namespace != found[0].key.namespace:
            found.append(each)
        if len(found) == 2:
            break
    return tuple(found)
