"""Connections on which a complete request is awaited: a limit on their number, and which address has too many."""

import logging
import math
import time
from typing import Protocol

INCOMPLETE_LIMIT = 256
"""Maximum number of connections on which a request is incomplete, or none has come yet.

Beyond it, the webhook closes one of them: the oldest from the address that has the most.
A request of the API server is complete within milliseconds, so its connection is not the oldest of them.
"""
TELL_SECONDS = 10.0
"""Seconds between two log lines about that."""

log = logging.getLogger(__name__)


class Connection(Protocol):
    """A connection that can be closed."""

    @property
    def address(self) -> str:
        """The address of the client, without its port."""
        ...

    def abort(self) -> None:
        """Close it at once."""
        ...


class Incomplete:
    """The connections on which a complete request is awaited, by address, in the order in which that began.

    To close one costs the same for any number of them from one address, which may open new ones as fast as it can.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._by_address: dict[str, dict[Connection, None]] = {}
        self._closed, self._told = 0, -math.inf

    def add(self, connection: Connection) -> None:
        """Note a connection; beyond the limit, close another one."""
        connections = self._by_address.setdefault(connection.address, {})
        if connection in connections:
            return
        connections[connection] = None
        self._count += 1
        if self._count > self._limit:
            self._close_one()

    def discard(self, connection: Connection) -> None:
        """Note that a request is complete, or that the connection has ended."""
        connections = self._by_address.get(connection.address, {})
        if connection in connections:
            del connections[connection]
            self._count -= 1
        if not connections:
            self._by_address.pop(connection.address, None)

    def crowded_by(self, address: str) -> bool:
        """Say whether an address has more than half of the connections that there may be, and so the most."""
        return len(self._by_address.get(address, ())) > self._limit // 2

    def _close_one(self) -> None:
        address, connections = max(self._by_address.items(), key=lambda item: len(item[1]))
        count, oldest = len(connections), next(iter(connections))
        self.discard(oldest)
        oldest.abort()
        self._closed += 1
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            log.warning(
                "closed %d connections without a complete request: over %d at a time, %d of them from %s",
                self._closed, self._limit, count, address,
            )  # fmt: skip
            self._closed, self._told = 0, now
