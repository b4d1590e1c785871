"""Candidates by host. Hosts are also sorted by their suffixes, because wildcards match suffixes."""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator

from app.core.routes.candidates import Candidate
from app.core.routes.host_entries import HostEntries


class HostIndex:
    """The entries that name each host."""

    def __init__(self) -> None:
        self._entries: dict[str, HostEntries] = {}
        self._reversed: list[str] = []
        self._wild = 0

    def __contains__(self, host: str) -> bool:
        return host in self._entries

    def at(self, host: str) -> HostEntries:
        """Return the candidates that name a host."""
        return self._entries.get(host, _NOBODY)

    def put(self, host: str, handle: Hashable, candidate: Candidate) -> None:
        """Add a candidate to a host, or replace the one with the same handle."""
        if host not in self._entries:
            self._entries[host] = HostEntries(host)
            insort(self._reversed, host[::-1])
            self._wild += host.startswith("*")
        self._entries[host].put(handle, candidate)

    def drop(self, host: str, namespace: str, handle: Hashable) -> None:
        """Remove a candidate that no longer names a host."""
        entries = self._entries.get(host)
        if entries is None:
            return
        entries.drop(namespace, handle)
        if not entries:
            del self._entries[host]
            del self._reversed[bisect_left(self._reversed, host[::-1])]
            self._wild -= host.startswith("*")

    def meeting(self, host: str) -> Iterator[str]:
        """Yield the known hosts that overlap a host: itself, wildcards that cover it, and hosts that it covers."""
        if host in self._entries:
            yield host
        for wildcard in wildcards(host) if self._wild else ():
            if wildcard != host and wildcard in self._entries:
                yield wildcard
        yield from self.under(host) if host.startswith("*") else ()

    def under(self, wildcard: str) -> Iterator[str]:
        """Yield the hosts that a wildcard covers, but not itself."""
        end = wildcard[:0:-1]
        for index in range(bisect_left(self._reversed, end), len(self._reversed)):
            if not self._reversed[index].startswith(end):
                return
            if (host := self._reversed[index][::-1]) != wildcard:
                yield host


def wildcards(host: str) -> Iterator[str]:
    """Yield every wildcard that covers a host: `*` matches any prefix, also an empty one."""
    for start in range(len(host) + 1):
        yield f"*{host[start:]}"


def meets(host: str, other: str) -> bool:
    """Say whether two hosts are the same, or one is a wildcard that covers the other."""
    return host == other or _wild(host, other) or _wild(other, host)


def _wild(wildcard: str, host: str) -> bool:
    return wildcard.startswith("*") and host.endswith(wildcard[1:])


_NOBODY = HostEntries("")
