"""What one client that floods the webhook costs the others, and how much memory it takes.

In turns, on one connection that is kept alive: alone, and beside a client that floods. Each kind of flood has a
webhook of its own. "At rest" is the peak of its memory before the first flood. The flood is a process on the same
machine that runs when no other one wants to. From another machine it could be faster: the first figure says how fast
it was.
"""

import asyncio
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import uvloop

from tests.bed.guard import HOST, Webhook
from tests.perf import installation
from tests.perf.figures import Effort, Figure, p99
from tests.perf.flooder import KINDS
from tests.perf.machine import peak_memory
from tests.perf.webhook import WARMING, Asker

REQUESTS, TURNS = 4000, 3
BEGIN_SECONDS = 2.0
"""From the first connection of a flood to the first measured request."""
LATENCY_AIM, MEMORY_AIM = 3.0, 2.0


class Polite(Asker):
    """A connection that counts what is not answered, rather than giving up."""

    refusals = 0

    def refused(self) -> None:
        """Count it."""
        self.refusals += 1


def run(effort: Effort) -> Iterator[Figure]:
    """Measure each kind."""
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder, Webhook(Path(folder), command=installation.command()) as webhook:
            yield from _figures(kind, webhook, Path(folder), max(100, effort.count(REQUESTS)))


def _figures(kind: str, webhook: Webhook, folder: Path, count: int) -> Iterator[Figure]:
    authority = folder / "flood-ca.crt"
    authority.write_bytes(webhook.authority.certificate)
    uvloop.run(_ask(webhook, WARMING))
    at_rest = peak_memory(webhook.child.pid)
    alone, beside = list[float](), list[float]()
    refusals, rates = 0, list[float]()
    for _ in range(TURNS):
        alone += uvloop.run(_ask(webhook, count // TURNS))[0]
        with _flood(kind, webhook, authority, rates):
            latencies, refused = uvloop.run(_ask(webhook, count // TURNS))
        beside += latencies
        refusals += refused
    peak = peak_memory(webhook.child.pid)
    yield Figure(f"{kind}: {KINDS[kind][2]} of the flood, median of {TURNS} turns", median(rates), "per second")
    yield Figure(f"{kind}: alone, 99th percentile", p99(alone) * 1000, "ms")
    yield Figure(f"{kind}: beside it, median", median(beside) * 1000, "ms")
    yield Figure(f"{kind}: beside it, 99th percentile", p99(beside) * 1000, "ms")
    yield Figure(f"{kind}: beside it / alone, 99th percentiles", p99(beside) / p99(alone), "", LATENCY_AIM)
    yield Figure(f"{kind}: requests of the other client that were refused", refusals, "", 0)
    yield Figure(f"{kind}: memory, peak", peak, "MiB")
    yield Figure(f"{kind}: memory, peak / at rest", peak / at_rest, "", MEMORY_AIM)


async def _ask(webhook: Webhook, count: int) -> tuple[list[float], int]:
    """Return the latencies in seconds of `count` requests, and how many were refused."""
    tls = ssl.create_default_context(cadata=webhook.authority.certificate.decode())
    connect = partial(asyncio.get_running_loop().create_connection, lambda: Polite(count), HOST, webhook.port, ssl=tls)
    _, asker = await connect()
    return await asker.latencies, asker.refusals


@contextmanager
def _flood(kind: str, webhook: Webhook, authority: Path, rates: list[float]) -> Iterator[None]:
    """Have a client flood for as long as this lasts; adds to `rates` how much it did per second."""
    command = [sys.executable, "-m", "tests.perf.flooder", kind, str(webhook.port), str(authority)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as flooding:
        try:
            assert flooding.stdout
            flooding.stdout.readline()
            began = time.monotonic()
            time.sleep(BEGIN_SECONDS)
            yield
            flooding.terminate()
            rates.append(int(flooding.stdout.readline()) / (time.monotonic() - began))
        finally:
            flooding.kill()
