"""The cost of metrics and logging in the webhook: with default settings, and without both, in turns.

One process answers all requests, so CPU time limits its throughput. The figure is the minimum of many short turns,
because other work on the machine only adds to it.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import uvloop

from tests.bed.guard import Webhook
from tests.perf.figures import Effort, Figure
from tests.perf.machine import cpu_nanoseconds
from tests.perf.webhook import REQUESTS, WARMING, drive

TURNS = 40
CONNECTIONS = 8
AIM = 10.0
BARE = (sys.executable, "-m", "tests.perf.bare")


def run(effort: Effort) -> Iterator[Figure]:
    """Both webhooks run all the time, and are asked in turns."""
    count = effort.count(REQUESTS) // CONNECTIONS // TURNS
    with ExitStack() as stack:
        full = stack.enter_context(Webhook(_folder(stack)))
        bare = stack.enter_context(Webhook(_folder(stack), ["--log-level=error"], command=BARE))
        webhooks = {"with metrics and logging": full, "without": bare}
        for webhook in webhooks.values():
            uvloop.run(drive(webhook, 1, WARMING))
        turns = [[_measure(webhook, count) for webhook in webhooks.values()] for _ in range(TURNS)]
    with_, without = map(min, zip(*turns, strict=True))
    for name, least in zip(webhooks, (with_, without), strict=True):
        yield Figure(f"CPU time of a request {name}, least of {TURNS} turns", least, "µs")
    yield Figure("metrics and logging, of the time of a request", (1 - without / with_) * 100, "%", AIM)


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


def _measure(webhook: Webhook, count: int) -> float:
    """CPU time of the webhook for a request, in microseconds."""
    before = cpu_nanoseconds(webhook.child.pid)
    answered = len(uvloop.run(drive(webhook, CONNECTIONS, count)))
    return (cpu_nanoseconds(webhook.child.pid) - before) / answered / 1000
