"""Ports and addresses of one host that stand in several ServiceEntries of a namespace: where each is reached.

Istio gives an entry with resolution DNS an address of its own, unless it lists some. A sidecar that captures DNS
answers for a host with the addresses of all entries that name it, and has a port that is matched by address only at
the addresses of the entries that declare it. So if the entries declare different ports, a call may come to an address
where its port is not. Entries with resolution NONE are given no address.
"""

from collections.abc import Hashable, Iterable
from typing import TypeVar

from app.core.resources import HTTP_FAMILY, ServiceEntry

ADDRESSED = "DNS"
"""The resolution for which Istio gives an entry addresses, where the guard writes it."""
H = TypeVar("H", bound=Hashable)
Layout = tuple[frozenset[int], frozenset[str]]
"""The numbers of the ports that are matched by address, and the addresses that an entry lists."""


def layout(entry: ServiceEntry) -> Layout:
    """Return what the entries of a host must have in common. HTTP ports need not: they are matched by authority."""
    by_address = (port.number for port in entry.ports if port.protocol not in HTTP_FAMILY)
    return frozenset(by_address), frozenset(entry.addresses)


def partners(entries: Iterable[tuple[H, ServiceEntry]]) -> dict[H, ServiceEntry]:
    """Return for each entry of a host the first that has another layout; nothing where all have the same."""
    entries = tuple(entries)
    firsts: dict[Layout, ServiceEntry] = {}
    for _, entry in entries:
        firsts.setdefault(layout(entry), entry)
    if len(firsts) < 2:
        return {}
    first, second = list(firsts.values())[:2]
    return {handle: second if layout(entry) == layout(first) else first for handle, entry in entries}
