"""What stands around the entries of one namespace for a host: entries of other namespaces that name it or meet it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from app.core.candidates import Candidate, age
from app.core.crowd import Crowd, Voice, by_name, other, voice
from app.core.host_index import HostIndex
from app.core.observed import KINDS
from app.core.resources import Key

NOBODY = (None,) * len(KINDS)


@dataclass(frozen=True, slots=True)
class Around:
    """What there is for each kind is in the order of KINDS."""

    ports: frozenset[int] = frozenset()
    """Ports that istiod may serve with a VirtualService of the host, of any entry: one or two, if there are more."""
    speaking: tuple[Voice | None, ...] = NOBODY
    """For each kind the oldest public entry for the host for which an object is emitted."""
    silent: tuple[Voice | None, ...] = NOBODY
    """For each kind the oldest entry for the host for which none is."""
    wild: Voice | None = None
    """An entry that does not name the host, but has a wildcard that meets it, or a host that it meets as a wildcard."""
    lacking: str | None = None
    """A namespace whose entries for the host have no port 80."""
    captured: Key | None = None
    """An entry for a host that a wildcard's VirtualService would route as well."""
    same: tuple[Candidate, ...] = ()
    """The other namespaces' entries for the host: where this namespace exports its own by name, each of them counts."""
    meeting: frozenset[str] = frozenset()
    """In that case also the namespaces of entries that do not name the host and meet it."""


def look_around(host: str, namespace: str, index: HostIndex) -> Around:
    """Find what stands around the entries of a namespace for a host."""
    crowd = index.at(host)
    summary = crowd.summary
    named = any(by_name(one) for one in crowd.of(namespace).values())
    ports = chain(summary.ports, (port for each in _related(host, index) for port in each.ports))
    return Around(
        ports=frozenset(islice(dict.fromkeys(ports), 2)),
        speaking=tuple(other(voices, namespace) for voices in summary.speaking),
        silent=tuple(other(voices, namespace) for voices in summary.silent),
        wild=next(_wild(crowd, namespace, _related(host, index)), None),
        lacking=next((name for name in summary.lacking if name != namespace), None),
        captured=_captured(host, namespace, index) if host.startswith("*") else None,
        same=tuple(one for one in crowd if one.key.namespace != namespace) if named else (),
        meeting=frozenset(_meeting(crowd, _related(host, index))) if named else frozenset(),
    )


def _related(host: str, index: HostIndex) -> Iterator[Crowd]:
    """Yield the entries of each host that meets a host: a wildcard has very many, and most often the first will do."""
    return (index.at(each) for each in index.meeting(host) if each != host)


def _wild(crowd: Crowd, namespace: str, related: Iterable[Crowd]) -> Iterator[Voice]:
    """Yield the oldest entry of each related host that is of another namespace and does not name the host."""
    for each in related:
        first = other(each.summary.oldest, namespace)
        if first and not crowd.has(first.key):
            yield first
        elif first:
            ones = (one for one in each if one.key.namespace != namespace and not crowd.has(one.key))
            yield from islice(sorted(voice(one) for one in ones), 1)


def _meeting(crowd: Crowd, related: Iterable[Crowd]) -> Iterator[str]:
    return (one.key.namespace for each in related for one in each if not crowd.has(one.key))


def _captured(wildcard: str, namespace: str, index: HostIndex) -> Key | None:
    """Find an entry for a host beneath a wildcard that the namespace sees and has no VirtualService for."""
    for host in index.under(wildcard):
        seen = (one for one in index.at(host) if _sees(namespace, one) and not _routed(one, namespace, wildcard))
        if found := min(seen, key=lambda one: age(one.entry), default=None):
            return found.key
    return None


def _sees(namespace: str, one: Candidate) -> bool:
    return one.key.namespace == namespace or "*" in one.seen_by or namespace in one.seen_by


def _routed(one: Candidate, namespace: str, wildcard: str) -> bool:
    """Say whether the namespace has VirtualServices for all hosts of an entry that are beneath a wildcard."""
    hosts = (host.canonical for host in one.entry.hosts if _beneath(host.canonical, wildcard))
    return one.key.namespace == namespace and all(one.withheld("VirtualService", host) is None for host in hosts)


def _beneath(host: str, wildcard: str) -> bool:
    return host != wildcard and host.endswith(wildcard[1:])
