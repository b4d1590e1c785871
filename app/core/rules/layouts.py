"""Ports and addresses of one host that stand in several ServiceEntries of a namespace: where each is reached.

Istio gives an entry with resolution DNS an address of its own, unless it lists some. A sidecar that captures DNS
answers for a host with the addresses of all entries that name it, and has a port that is matched by address only at
the addresses of the entries that declare it. So if the entries declare different ports, a call may come to an address
where its port is not. Entries with resolution NONE are given no address.
"""

from collections.abc import Iterable

from app.core.resources.service_entry import HTTP_FAMILY, ServiceEntry

ADDRESSED = "DNS"
"""The resolution for which Istio gives an entry addresses, where the guard writes it."""
Layout = tuple[frozenset[int], frozenset[str]]
"""The numbers of the ports that are matched by address, and the addresses that an entry lists."""


class Layouts:
    """The layouts of the entries that name a host and have, or would have, addresses of their own."""

    def __init__(self, entries: Iterable[ServiceEntry]) -> None:
        self._first: dict[Layout, ServiceEntry] = {}
        for entry in entries:
            self._first.setdefault(_layout(entry), entry)

    def apart_from(self, entry: ServiceEntry) -> ServiceEntry | None:
        """Return an entry with another layout, if there is one."""
        own = _layout(entry)
        return next((other for layout, other in self._first.items() if layout != own), None)


def _layout(entry: ServiceEntry) -> Layout:
    """Return what the entries of a host must have in common. HTTP ports need not: they are matched by authority."""
    by_address = (port.number for port in entry.ports if port.protocol not in HTTP_FAMILY)
    return frozenset(by_address), frozenset(entry.addresses)
