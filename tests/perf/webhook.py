"""The webhook process alone: requests over TLS on kept-alive connections, from one client process."""

import asyncio
import ssl
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import cast

import uvloop

from app.webhook.admission import Stage
from tests.bed.guard import HOST, Webhook
from tests.perf import installation
from tests.perf.figures import Effort, Figure, p99
from tests.perf.objects import large_review

REQUESTS = 20_000
WARMING = 500


def run(effort: Effort) -> Iterator[Figure]:
    """One connection for latency, eight for throughput."""
    with tempfile.TemporaryDirectory() as folder, Webhook(Path(folder), command=installation.command()) as webhook:
        uvloop.run(drive(webhook, 1, WARMING))
        for connections in (1, 8):
            count = effort.count(REQUESTS) // connections
            began = time.perf_counter()
            latencies = uvloop.run(drive(webhook, connections, count))
            rate = len(latencies) / (time.perf_counter() - began)
            shown = f"{connections} connection{'s' if connections > 1 else ''}"
            yield Figure(f"throughput on {shown}", rate, "requests/s")
            yield Figure(f"latency on {shown}, median", median(latencies) * 1000, "ms")
            yield Figure(f"latency on {shown}, 99th percentile", p99(latencies) * 1000, "ms")


class Asker(asyncio.Protocol):
    """A connection that sends a request as soon as the one before is answered, to both endpoints in turns.

    `latencies` become those of all `count` requests, in seconds.
    """

    def __init__(self, count: int) -> None:
        self.latencies: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()
        self._requests = cycle([_request(stage) for stage in Stage])
        self._count = count
        self._measured: list[float] = []
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        if len(body) == _content_length(head):
            self._answered(head)

    def refused(self) -> None:
        """Give up: the response is not 200."""
        raise RuntimeError(f"the webhook does not answer: {self._received!r}")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.latencies.done():
            self.latencies.set_exception(exc or ConnectionError("the webhook closed a connection"))

    def _ask(self) -> None:
        self._received = b""
        self._asked = time.perf_counter()
        self._transport.write(next(self._requests))

    def _answered(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 200 "):
            self.refused()
        self._measured.append(time.perf_counter() - self._asked)
        if len(self._measured) < self._count:
            self._ask()
        else:
            self.latencies.set_result(self._measured)
            self._transport.close()


async def drive(webhook: Webhook, connections: int, count: int) -> list[float]:
    """Latencies in seconds of `count` requests on each connection."""
    tls = ssl.create_default_context(cadata=webhook.authority.certificate.decode())
    connect = partial(asyncio.get_running_loop().create_connection, lambda: Asker(count), HOST, webhook.port, ssl=tls)
    askers = [(await connect())[1] for _ in range(connections)]
    return [latency for asker in askers for latency in await asker.latencies]


def _request(stage: Stage) -> bytes:
    body = large_review()
    lines = (
        f"POST /{stage.value} HTTP/1.1",
        f"Host: {HOST}",
        "Content-Type: application/json",
        "Accept-Encoding: gzip",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


def _content_length(head: bytes) -> int:
    """The Content-Length of a whole head, -1 where there is none yet."""
    _, _, value = head.lower().partition(b"content-length:")
    return int(value.split(b"\r\n", 1)[0] or -1)
