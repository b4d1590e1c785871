"""A client that floods a webhook until it is ended: `python -m tests.perf.flooder KIND PORT CA-FILE`.

A process of its own, which gives way to every other one, for want of another machine. Ended by SIGTERM, it prints how
many connections it has opened, or how many responses it got.
"""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import uvloop

from tests.bed.guard import HOST

SLOW, LARGE, SENDING, SHAKING, HELD = 300, 7 * 1024 * 1024 - 1000, 8, 8, 1000
"""Connections with slow bodies; bytes of a large body; connections that send and that only shake hands; how many of
those are kept open."""
DRIP_SECONDS, HOSTS = 0.2, 50_000
HEAD = "POST /mutate HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
Flooding = Callable[[Connect, "Tally"], Awaitable[None]]


class Tally:
    """How much was done so far."""

    count = 0


async def slow_bodies(connect: Connect, tally: Tally) -> None:
    """Begin a request, and send the rest byte by byte."""
    _, writer = await connect()
    tally.count += 1
    writer.write(HEAD.format(10_000).encode())
    while not writer.transport.is_closing():
        writer.write(b" ")
        await asyncio.sleep(DRIP_SECONDS)


async def send(body: bytes, connect: Connect, tally: Tally) -> None:
    """Send the same request again and again."""
    reader, writer = await connect()
    with contextlib.closing(writer):
        while True:
            writer.write(HEAD.format(len(body)).encode() + body)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            tally.count += 1


async def shake_hands(held: deque[asyncio.StreamWriter], connect: Connect, tally: Tally) -> None:
    """Open connections without a request, and keep the last ones open."""
    while True:
        _, writer = await connect()
        tally.count += 1
        if len(held) == held.maxlen:
            held[0].transport.abort()
        held.append(writer)


def review(hosts: list[object]) -> bytes:
    """An AdmissionReview of an entry with these hosts."""
    entry = {"metadata": {"name": "flood", "namespace": "flood"}, "spec": {"hosts": hosts}}
    kind = {"group": "networking.istio.io", "version": "v1", "kind": "ServiceEntry"}
    request = {"uid": "1", "kind": kind, "operation": "CREATE", "namespace": "flood", "object": entry}
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(document, separators=(",", ":")).encode()


def large() -> Flooding:
    """Send one long text."""
    return partial(send, review(["x" * LARGE]))


def lists() -> Flooding:
    """Send very many values."""
    return partial(send, review([[]] * (LARGE // 3)))


def hosts() -> Flooding:
    """Send an entry with very many hosts."""
    return partial(send, review([f"api-{number}.example.com" for number in range(HOSTS)]))


KINDS: dict[str, tuple[int, Callable[[], Flooding], str]] = {
    "slow bodies": (SLOW, lambda: slow_bodies, "connections"),
    "7 MiB bodies": (SENDING, large, "responses"),
    "7 MiB of empty lists": (SENDING, lists, "responses"),
    f"{HOSTS:,} hosts": (SENDING, hosts, "responses"),
    "handshakes only": (
        SHAKING,
        lambda: partial(shake_hands, deque[asyncio.StreamWriter](maxlen=HELD)),
        "connections",
    ),
}
"""How many connections do what, and what is counted."""


async def flood(kind: str, port: int, authority: str) -> None:
    """Do it on all connections, and open those again that are closed. Prints a line once it begins."""
    count, make, _ = KINDS[kind]
    do, tls, tally = make(), ssl.create_default_context(cafile=authority), Tally()
    connect = partial(asyncio.open_connection, HOST, port, ssl=tls)

    async def again() -> None:
        while True:
            with contextlib.suppress(OSError, EOFError, asyncio.IncompleteReadError):
                await do(connect, tally)
            await asyncio.sleep(0.01)

    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    flooding = [asyncio.create_task(again()) for _ in range(count)]
    print("flooding", flush=True)
    await ended.wait()
    print(tally.count, flush=True)
    for task in flooding:
        task.cancel()


def give_way() -> None:
    """Run only when no other process wants to (Linux), or at least less often."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, PermissionError):
        os.nice(10)


if __name__ == "__main__":
    give_way()
    uvloop.run(flood(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
