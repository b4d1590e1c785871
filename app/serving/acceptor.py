"""Accepts connections. An address that has too many without a complete request waits for more.

A TLS handshake costs the event loop most of a millisecond. A client that opens connection after connection, and keeps
them open without a request, would take that time from the others. So its connections wait for their handshakes. None is
closed for that: when too many wait, the first begins its handshake at once, because others may be behind the same
address.
"""

import asyncio
import logging
import socket
from asyncio import TimerHandle
from collections.abc import Awaitable, Callable

from app.fairline import FairLine

AT_ONCE = 8
"""Maximum number of connections to accept before the event loop goes on with the others."""
PACE_SECONDS = 0.005
"""Seconds between two connections that have waited, of all such addresses together."""
ROOM = 128
"""Maximum number of connections that wait. So one waits for 0.7 s, unless the event loop is busy."""
REST_SECONDS = 1.0
"""Until the next attempt after the system had no file descriptor or memory for a connection, in seconds."""

log = logging.getLogger(__name__)

Waiting = tuple[str, socket.socket]
"""The address of a client and its connection."""


class Acceptor:
    """Takes connections from a listening socket and passes them to `serve`, whose OSErrors are logged at level debug.

    While `crowded_by` is true for an address, its connections wait.
    """

    def __init__(
        self,
        listening: socket.socket,
        serve: Callable[[socket.socket], Awaitable[object]],
        crowded_by: Callable[[str], bool],
    ) -> None:
        self._listening = listening
        self._serve = serve
        self._crowded_by = crowded_by
        self._line = FairLine[Waiting](ROOM)
        self._rest: TimerHandle | None = None
        self._pause: TimerHandle | None = None
        self._serving = set[asyncio.Task[None]]()

    def start(self) -> None:
        """Start, in the event loop that is running."""
        self._loop = asyncio.get_running_loop()
        self._listen()

    def close(self) -> None:
        """Accept nothing more, and close the socket and the connections that wait."""
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for timer in (self._rest, self._pause):
            if timer:
                timer.cancel()
        while waiting := self._line.take():
            waiting[1].close()

    def _listen(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, address = self._listening.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # the client has gone
            except OSError as error:
                log.warning("cannot accept connections, trying again in %g s: %s", REST_SECONDS, error)
                self._loop.remove_reader(self._listening)
                self._rest = self._loop.call_later(REST_SECONDS, self._listen)
                return
            connection.setblocking(False)
            self._take((str(address[0]), connection))

    def _take(self, new: Waiting) -> None:
        address, connection = new
        if not self._crowded_by(address):
            self._begin(connection)
            return
        if len(self._line) == ROOM and (first := self._line.take()):
            self._begin(first[1])
        self._line.put(address, new)
        if not self._pause:
            self._pause = self._loop.call_later(PACE_SECONDS, self._let_in)

    def _let_in(self) -> None:
        self._pause = None
        if waiting := self._line.take():
            address, connection = waiting
            seconds = PACE_SECONDS if self._crowded_by(address) else 0.0
            self._pause = self._loop.call_later(seconds, self._let_in)
            self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        task = self._loop.create_task(self._shake_hands(connection))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _shake_hands(self, connection: socket.socket) -> None:
        try:
            await self._serve(connection)
        except OSError as error:  # also those of TLS, and time-outs
            log.debug("a connection ended before it was open: %s", error)
        except Exception:
            log.exception("unexpected error in a new connection")
