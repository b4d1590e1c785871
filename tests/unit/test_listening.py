"""Servers listen where they are told to: on one address, or on all of both families."""

import asyncio
import socket
from http import HTTPStatus

import pytest
from prometheus_client import CollectorRegistry

from app.serving.health import HealthApp
from app.serving.server import ANY, Listener, Timeouts


def ask(host: str, listening: str) -> int | None:
    """The status of a GET of /healthz from a server that listens on an address; None where nothing answers."""

    async def run() -> int | None:
        app = HealthApp(CollectorRegistry(), {})
        async with Listener(app, listening, 0, Timeouts()) as listener:
            port = int(listener.address.rpartition(":")[2])
            try:
                reader, writer = await asyncio.open_connection(host, port)
            except OSError:
                return None
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            status = int((await reader.readline()).split()[1])
            writer.close()
            return status

    return asyncio.run(run())


needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_all_addresses_are_those_of_both_families(host: str) -> None:
    assert ask(host, ANY) == HTTPStatus.OK


@needs_ipv6
@pytest.mark.parametrize(("listening", "other"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_one_address_is_that_one(listening: str, other: str) -> None:
    assert ask(listening, listening) == HTTPStatus.OK
    assert ask(other, listening) is None


def test_without_ipv6_all_addresses_are_those_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    assert ask("127.0.0.1", ANY) == HTTPStatus.OK
