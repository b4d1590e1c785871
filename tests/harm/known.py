"""Where the guard still does harm: kinds of clusters that the generated ones are not, and why.

Each kind stands in `tests/harm/field` as well, where it is expected to fail: whoever mends it removes it here, and its
line `known` there.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from app.core.resources import TLS_FAMILY, Port, ServiceEntry, is_service_entry
from tests.harm.protocol import Manifest

Named = dict[tuple[str, str], list[ServiceEntry]]
"""The entries of a namespace that name a host."""


def known(manifests: Iterable[Manifest]) -> bool:
    """Say whether a cluster is of a kind in which the guard does harm."""
    entries = entries_of(manifests)
    return any(kind(entries) for kind in KNOWN.values())


def entries_of(manifests: Iterable[Manifest]) -> list[ServiceEntry]:
    """Read the ServiceEntries of a cluster."""
    return [ServiceEntry.parse(one) for one in manifests if is_service_entry(one)]


def _tls_apart(entries: list[ServiceEntry]) -> bool:
    return any(any(port.protocol in TLS_FAMILY for one in shared for port in one.ports) for shared in _shared(entries))


def _address_beside(entries: list[ServiceEntry]) -> bool:
    return any(any(one.addresses for one in shared) for shared in _shared(entries))


def _contradicting(entries: list[ServiceEntry]) -> bool:
    declared = defaultdict[tuple[str, int], set[str]](set)
    for host, port in _ports(entries):
        declared[host, port.number].add(port.protocol)
    return any(len(protocols) > 1 for protocols in declared.values())


KNOWN: dict[str, Callable[[list[ServiceEntry]], bool]] = {
    "two-tls-entries-of-one-host": _tls_apart,
    "sibling-with-addresses": _address_beside,
    "older-entry-speaks-grpc": _contradicting,
    "neighbour-speaks-grpc": _contradicting,
}
"""By the name of the file."""


def _shared(entries: Iterable[ServiceEntry]) -> Iterator[list[ServiceEntry]]:
    """Yield the entries of one namespace that name one host, where there are several."""
    named: Named = {}
    for entry in entries:
        for host in {host.canonical for host in entry.hosts}:
            named.setdefault((entry.key.namespace, host), []).append(entry)
    return (shared for shared in named.values() if len(shared) > 1)


def _ports(entries: Iterable[ServiceEntry]) -> Iterator[tuple[str, Port]]:
    for entry in entries:
        for host in entry.hosts:
            yield from ((host.canonical, port) for port in entry.ports)
