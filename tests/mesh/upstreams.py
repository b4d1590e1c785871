"""Servers of the far network that misbehave in one way each, all on one event loop in a thread of their own."""

import asyncio
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from tests.mesh.grpc_server import GrpcConnection, Pace
from tests.mesh.networks import listening_socket

T = TypeVar("T")
CLOSE_HEAD = b"\r\n\r\n"


class Loop:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="upstreams", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Have it do this, and wait."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


class Upstream:
    """A server that cuts the connection on every `cut_every`th request, without an answer, and takes `delay` seconds.

    It answers 200 with its address and port, or with a gRPC stream at its pace, and counts how often it saw each
    request, which is named by method and path. None is cut twice: at random one in five to the fourth would meet four
    cuts in a row, and runs would differ.
    """

    def __init__(
        self,
        loop: Loop,
        address: str,
        port: int = 80,
        *,
        cut_every: int = 0,
        delay: float = 0.0,
        tls: ssl.SSLContext | None = None,
        grpc: bool = False,
        pace: Pace | None = None,
        listen: Callable[[str, int], socket.socket] = listening_socket,
    ) -> None:
        self.address, self.port = address, port
        self.pace = pace
        self.seen = Counter[str]()
        self._loop, self._tls, self._grpc, self._listen = loop, tls, grpc, listen
        self._cut_every, self._delay = cut_every, delay
        self._server: asyncio.Server | None = None
        self._transports = set[asyncio.WriteTransport]()

    @property
    def place(self) -> str:
        """What it answers."""
        return f"{self.address}:{self.port}"

    def open(self) -> Self:
        """Accept connections from now on."""
        self._loop.run(self._open())
        return self

    def cut(self) -> None:
        """Go away: reset every connection, and refuse new ones."""
        self._loop.run(self._cut())

    def retire(self) -> None:
        """Cut the connection on every request from now on, as a load balancer does at an address that it gave up."""
        self._cut_every = 1

    def cuts_this_one(self, name: str) -> bool:
        """Count a request, and say whether the connection is cut on it."""
        self.seen[name] += 1
        return bool(self._cut_every) and self.seen[name] == 1 and len(self.seen) % self._cut_every == 0

    def connected(self, transport: asyncio.WriteTransport) -> None:
        """Remember a connection, so that it can be cut."""
        self._transports.add(transport)

    def disconnected(self, transport: asyncio.WriteTransport) -> None:
        """Forget it."""
        self._transports.discard(transport)

    async def _open(self) -> None:
        listener = self._listen(self.address, self.port)
        if self._grpc:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: GrpcConnection(self), sock=listener)
        else:
            self._server = await asyncio.start_server(self._serve, sock=listener, ssl=self._tls)

    async def _cut(self) -> None:
        if self._server:
            self._server.close()
        for transport in list(self._transports):
            transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected(writer.transport)
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side is gone
        finally:
            self.disconnected(writer.transport)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; False where the connection is cut instead."""
        head = (await reader.readuntil(CLOSE_HEAD)).decode("latin-1")
        request, *lines = head.split("\r\n")
        await reader.readexactly(_content_length(lines))
        if self.cuts_this_one(request.rpartition(" ")[0]):
            return False
        if self._delay:
            await asyncio.sleep(self._delay)
        body = self.place.encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        return True


def _content_length(lines: list[str]) -> int:
    headers = dict(line.lower().split(":", 1) for line in lines if ":" in line)
    return int(headers.get("content-length", 0))
