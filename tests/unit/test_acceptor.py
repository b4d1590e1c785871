"""Accepting connections: those of an address that has too many incomplete ones wait, and those of others do not."""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from app.serving import acceptor
from app.serving.acceptor import Acceptor

DEADLINE = 10.0
NEVER = 3600.0
CROWDED, OTHER = "127.0.0.1", "127.0.0.2"
RUNS: list[Callable[[Coroutine[Any, Any, None]], None]] = [asyncio.run, uvloop.run]

pytestmark = [
    pytest.mark.parametrize("run", RUNS, ids=["asyncio", "uvloop"]),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loopback interface has one address only"),
]


class Door:
    """An acceptor for which one address is crowded, and what came of its connections."""

    def __init__(self) -> None:
        self.listening = socket.create_server((CROWDED, 0))
        self.listening.setblocking(False)
        self.address = self.listening.getsockname()
        self.served: list[tuple[int, float]] = []
        self.error: Exception | None = None
        self.acceptor = Acceptor(self.listening, self._serve, lambda address: address == CROWDED)
        self._clients: list[socket.socket] = []

    async def connect(self, source: str) -> socket.socket:
        """Connect from an address."""
        client = socket.socket()
        client.bind((source, 0))
        client.setblocking(False)
        self._clients.append(client)
        await asyncio.get_running_loop().sock_connect(client, self.address)
        return client

    def ports(self) -> list[int]:
        """The ports of the clients that were served, in their order."""
        return [port for port, _ in self.served]

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            client.close()

    async def _serve(self, connection: socket.socket) -> None:
        self.served.append((connection.getpeername()[1], asyncio.get_running_loop().time()))
        connection.close()
        if self.error:
            raise self.error


@asynccontextmanager
async def opened() -> AsyncIterator[Door]:
    door = Door()
    door.acceptor.start()
    try:
        yield door
    finally:
        if door.listening.fileno() >= 0:
            door.acceptor.close()
        door.close()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def ended(client: socket.socket) -> bool:
    """Wait until the server has closed a connection."""
    async with asyncio.timeout(DEADLINE):
        try:
            return await asyncio.get_running_loop().sock_recv(client, 1) == b""
        except ConnectionResetError:
            return True


def port(client: socket.socket) -> int:
    return int(client.getsockname()[1])


def test_another_address_does_not_wait(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "PACE_SECONDS", NEVER)

    async def scenario() -> None:
        async with opened() as door:
            await door.connect(CROWDED)
            other = await door.connect(OTHER)
            await until(lambda: bool(door.served))
            assert door.ports() == [port(other)]

    run(scenario())


def test_connections_of_a_crowded_address_come_in_one_after_the_other(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "PACE_SECONDS", 0.05)

    async def scenario() -> None:
        began = asyncio.get_running_loop().time()
        async with opened() as door:
            clients = [await door.connect(CROWDED) for _ in range(3)]
            await until(lambda: len(door.served) == len(clients))
            assert door.ports() == [port(client) for client in clients]
            # uvloop's timers count in whole milliseconds.
            assert all(when - began > 0.045 * number for number, (_, when) in enumerate(door.served, 1))

    run(scenario())


def test_when_too_many_wait_the_first_of_them_waits_no_longer(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "PACE_SECONDS", NEVER)
    monkeypatch.setattr(acceptor, "ROOM", 2)

    async def scenario() -> None:
        async with opened() as door:
            clients = [await door.connect(CROWDED) for _ in range(4)]
            await until(lambda: len(door.served) == len(clients) - acceptor.ROOM)
            assert door.ports() == [port(client) for client in clients[:2]]

    run(scenario())


def test_closing_ends_the_connections_that_wait(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "PACE_SECONDS", NEVER)

    async def scenario() -> None:
        async with opened() as door:
            waiting, other = await door.connect(CROWDED), await door.connect(OTHER)
            await until(lambda: door.ports() == [port(other)])
            door.acceptor.close()
            assert await ended(waiting)
            with pytest.raises(ConnectionRefusedError):
                await door.connect(OTHER)

    run(scenario())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionResetError(), ""),
        (TimeoutError(), ""),
        (RuntimeError("a bug"), "unexpected error in a new connection"),
    ],
)
def test_a_connection_that_fails_ends_nothing_else(
    run: Any, caplog: pytest.LogCaptureFixture, error: Exception, told: str
) -> None:
    async def scenario() -> None:
        async with opened() as door:
            door.error = error
            clients = [await door.connect(OTHER) for _ in range(2)]
            await until(lambda: len(door.served) == len(clients))

    run(scenario())
    assert {record.message for record in caplog.records} == ({told} if told else set())
