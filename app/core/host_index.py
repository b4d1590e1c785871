"""Candidates by host. Hosts are sorted by their ends as well, because wildcards match ends."""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator

from app.core.candidates import Candidate
from app.core.crowd import Crowd


class HostIndex:
    """The crowd of each host."""

    def __init__(self) -> None:
        self._crowds: dict[str, Crowd] = {}
        self._reversed: list[str] = []
        self._wild = 0

    def __contains__(self, host: str) -> bool:
        return host in self._crowds

    def at(self, host: str) -> Crowd:
        """Return the candidates that name a host."""
        return self._crowds.get(host, _NOBODY)

    def put(self, host: str, handle: Hashable, one: Candidate) -> None:
        """Take a candidate that names a host, in place of one with the same handle."""
        if host not in self._crowds:
            self._crowds[host] = Crowd(host)
            insort(self._reversed, host[::-1])
            self._wild += host.startswith("*")
        self._crowds[host].put(handle, one)

    def drop(self, host: str, namespace: str, handle: Hashable) -> None:
        """Remove a candidate that names a host no more."""
        crowd = self._crowds.get(host)
        if crowd is None:
            return
        crowd.drop(namespace, handle)
        if not crowd:
            del self._crowds[host]
            del self._reversed[bisect_left(self._reversed, host[::-1])]
            self._wild -= host.startswith("*")

    def meeting(self, host: str) -> Iterator[str]:
        """Yield the hosts that are named and meet a host: itself, wildcards that cover it, and what it covers."""
        if host in self._crowds:
            yield host
        for wildcard in wildcards(host) if self._wild else ():
            if wildcard != host and wildcard in self._crowds:
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
    """Yield every wildcard that covers a host: `*` stands for any beginning, also for none."""
    for start in range(len(host) + 1):
        yield f"*{host[start:]}"


def meets(one: str, other: str) -> bool:
    """Say whether two hosts are the same, or one is a wildcard that covers the other."""
    return one == other or _wild(one, other) or _wild(other, one)


def _wild(wildcard: str, host: str) -> bool:
    return wildcard.startswith("*") and host.endswith(wildcard[1:])


_NOBODY = Crowd("")
