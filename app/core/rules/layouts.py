"""Layouts: the ports and addresses of one host in several ServiceEntries of a namespace.

Istio allocates an address to an entry with resolution DNS, unless it lists some. A sidecar that captures DNS resolves
a host to the addresses of all its entries. A port that is matched by address works only on the addresses of the
entries that declare it. So if the entries declare different ports, a call may use an address without its port. Entries
with resolution NONE get no address.
"""

from collections.abc import Iterable

from app.core.resources.service_entry import HTTP_FAMILY, ServiceEntry

ADDRESSED = "DNS"
"""The resolution that the guard writes and for which Istio allocates addresses."""
Layout = tuple[frozenset[int], frozenset[str]]
"""The numbers of the ports that are matched by address, and the addresses that an entry lists."""


class Layouts:
    """The layouts of the entries that name a host and have, or would have, addresses of their own."""

    def __init__(self, entries: Iterable[ServiceEntry]) -> None:
        self._first: dict[Layout, ServiceEntry] = {}
        for entry in entries:
            self._first.setdefault(_layout(entry), entry)

    def apart_from(self, entry: ServiceEntry) -> ServiceEntry | None:
        """Return an entry with a different layout, if there is one."""
        own = _layout(entry)
        return next((other for layout, other in self._first.items() if layout != own), None)


def clashing(entry: ServiceEntry, others: Iterable[ServiceEntry]) -> ServiceEntry | None:
    """Return an entry that declares a port of this one with another protocol.

    Istio takes the protocol of a port from the oldest entry that declares it and has a cluster for it.
    """
    own = {port.number: port.protocol for port in entry.ports}
    for other in others:
        if any(own.get(port.number, port.protocol) != port.protocol for port in other.ports):
            return other
    return None


def _layout(entry: ServiceEntry) -> Layout:
    """Return the part that all entries of a host must have in common.

    HTTP ports may differ, because they are matched by host.
    """
    by_address = (port.number for port in entry.ports if port.protocol not in HTTP_FAMILY)
    return frozenset(by_address), frozenset(entry.addresses)
