"""The entries that name one host, in all namespaces, and the little of them that decides for one namespace.

A host may be named in a thousand namespaces. What is decided in one of them depends on the oldest of the others, not on
each: so that is found once for all of them, and is found again when an entry of the host has changed.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from app.core.resources.service_entry import Key
from app.core.routes.candidates import PUBLIC, Age, Candidate, age, disagreeing
from app.core.routes.observed import KINDS
from app.core.rules.retries import NO_ONE

HTTP_PORT = 80
"""istiod writes the routes of this port for every host that a VirtualService names, known on that port or not."""


@dataclass(frozen=True, slots=True, order=True)
class EntryRef:
    """An entry that counts in other namespaces, and why nothing is emitted for it, if so."""

    age: Age
    key: Key
    reason: str = ""

    @property
    def created(self) -> str:
        """When it was created; "" for what was never stored."""
        return self.age[1]


EntryRefs = tuple[EntryRef, ...]
"""The oldest entries of two namespaces, as far as there are any: one of them is not of the namespace that looks."""

Protocols = Mapping[int, Mapping[str, EntryRefs]]
"""The entries that declare a port with a protocol, by the number of the port."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the entries of a host mean to other namespaces; what there is for each kind is in the order of KINDS."""

    ports: frozenset[int]
    """The numbers of all ports that istiod may serve with a VirtualService of the host."""
    oldest: EntryRefs
    public: tuple[EntryRefs, ...]
    """For each kind public entries for which an object is emitted."""
    silent: tuple[EntryRefs, ...]
    """For each kind entries for which none is."""
    without_port_80: tuple[str, ...]
    """The first two namespaces whose entries have no port 80: to them, a route for it would be new."""
    contested: Protocols
    """The protocols of ports that entries declare with more than one, and who sees them in other namespaces."""
    named: frozenset[str]
    """Namespaces with an entry that is exported to others by their names: whatever is there besides counts for it."""

    @classmethod
    def of(cls, host: str, candidates: Iterable[Candidate]) -> "Summary":
        """Summarise the entries that name a host."""
        ones = sorted(candidates, key=lambda one: age(one.entry))
        return cls(
            ports=frozenset(port.number for one in ones for port in one.entry.ports if port.served),
            oldest=_first(ref(one) for one in ones),
            public=tuple(
                _first(ref(one) for one in ones if PUBLIC in one.seen_by and not one.withheld(kind, host))
                for kind in KINDS
            ),
            silent=tuple(
                _first(ref(one, reason) for one in ones if (reason := one.withheld(kind, host))) for kind in KINDS
            ),
            without_port_80=tuple(_lacking(ones))[:2],
            contested=_contested(ones),
            named=frozenset(one.key.namespace for one in ones if by_name(one)),
        )


class HostEntries:
    """The candidates that name a host, by namespace and handle."""

    __slots__ = ("_by_namespace", "_host", "_summary")  # there are very many

    def __init__(self, host: str) -> None:
        self._host = host
        self._by_namespace: dict[str, dict[Hashable, Candidate]] = {}
        self._summary: Summary | None = None

    def __bool__(self) -> bool:
        return bool(self._by_namespace)

    def __iter__(self) -> Iterator[Candidate]:
        for candidates in self._by_namespace.values():
            yield from candidates.values()

    @property
    def namespaces(self) -> Iterable[str]:
        """The namespaces whose entries name the host."""
        return self._by_namespace.keys()

    def of(self, namespace: str) -> Mapping[Hashable, Candidate]:
        """Return the candidates of a namespace."""
        return self._by_namespace.get(namespace, {})

    def has(self, key: Key) -> bool:
        """Say whether an entry names the host."""
        return any(one.key == key for one in self.of(key.namespace).values())

    @property
    def ports(self) -> Iterator[int]:
        """The numbers of ports that istiod may serve with a VirtualService of the host; some of them repeatedly."""
        return (port.number for one in self for port in one.entry.ports if port.served)

    def put(self, handle: Hashable, one: Candidate) -> None:
        """Take a candidate, in place of one with the same handle."""
        self._summary = None
        self._by_namespace.setdefault(one.key.namespace, {})[handle] = one

    def drop(self, namespace: str, handle: Hashable) -> None:
        """Remove a candidate."""
        self._summary = None
        candidates = self._by_namespace.get(namespace, {})
        candidates.pop(handle, None)
        if not candidates:
            self._by_namespace.pop(namespace, None)

    @property
    def summary(self) -> Summary:
        """What the candidates mean to other namespaces; kept until one of them changes, where there are several."""
        found = self._summary or Summary.of(self._host, self)
        if next(islice(self, 1, None), None):
            self._summary = found
        return found


def by_name(one: Candidate) -> bool:
    """Say whether an entry is exported to other namespaces by their names."""
    return PUBLIC not in one.seen_by and bool(one.seen_by - {one.key.namespace})


def other(refs: EntryRefs, namespace: str) -> EntryRef | None:
    """Return the oldest of other namespaces."""
    return next((one for one in refs if one.key.namespace != namespace), None)


def _lacking(ones: Iterable[Candidate]) -> Iterator[str]:
    ports = defaultdict[str, set[int]](set)
    for one in ones:
        ports[one.key.namespace].update(port.number for port in one.entry.ports)
    return (namespace for namespace, numbers in sorted(ports.items()) if HTTP_PORT not in numbers)


def _contested(ones: Iterable[Candidate]) -> Protocols:
    """Return the ports that entries declare with more than one protocol, as far as other namespaces see them."""
    return {
        number: {protocol: _seen_elsewhere(declaring) for protocol, declaring in protocols.items()}
        for number, protocols in disagreeing(ones).items()
    }


def _seen_elsewhere(ones: Iterable[Candidate]) -> EntryRefs:
    return _first(ref(one) for one in ones if one.seen_by - {one.key.namespace, NO_ONE})


def ref(one: Candidate, reason: str = "") -> EntryRef:
    """Say what of an entry counts in other namespaces."""
    return EntryRef(age(one.entry), one.key, reason)


def _first(refs: Iterable[EntryRef]) -> EntryRefs:
    """Keep the first of each of the first two namespaces."""
    found = list[EntryRef]()
    for one in refs:
        if not found or one.key.namespace != found[0].key.namespace:
            found.append(one)
        if len(found) == 2:
            break
    return tuple(found)
