"""A host outside of the cluster: its DNS server, and the addresses at which it answers one after the other.

All of it is in the network of this process, which is the one of the first node. Every fifth request finds its
connection cut.
"""

import socket
import subprocess

from tests.cluster import settings
from tests.mesh.names import Names
from tests.mesh.upstreams import Loop, Upstream

HOST = f"api.{settings.OUTSIDE_DOMAIN}"
ADDRESSES = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
CUT_EVERY = 5


class Outside:
    """The host at the first of its addresses; made by a thread that is in the cluster's network."""

    def __init__(self) -> None:
        for address in (settings.OUTSIDE_DNS, *ADDRESSES):
            subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
        self._names = Names(settings.OUTSIDE_DNS)
        loop = Loop()
        self._upstreams = [Upstream(loop, each, cut_every=CUT_EVERY, listen=_listen).open() for each in ADDRESSES]
        self._names.point(HOST, self._upstreams[0].address)

    @property
    def requests(self) -> int:
        """How many requests have come, to whatever address; a retried one counts once for each address."""
        return sum(len(each.seen) for each in self._upstreams)

    def move(self) -> tuple[Upstream, Upstream]:
        """Have the name lead to the next address; gives the one of before, which still answers, and the new one."""
        before, after, *_ = self._upstreams
        self._upstreams = [*self._upstreams[1:], before]
        self._names.point(HOST, after.address)
        return before, after


def _listen(address: str, port: int) -> socket.socket:
    listener = socket.create_server((address, port), backlog=512)
    listener.setblocking(False)
    return listener
