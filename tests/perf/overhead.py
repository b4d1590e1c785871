"""The cost of a request in the webhook, beside the same without metrics and logging, and beside a constant; in turns.

The constant is the answer of a FastAPI route on the same uvicorn, TLS and settings, which decodes nothing. It shows
what any webhook in FastAPI costs on this machine; the rest is the review, its metrics and its log line.

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
AIM, RATIO_AIM = 10.0, 1.5
BARE = (sys.executable, "-m", "tests.perf.bare")
CONSTANT = (sys.executable, "-m", "tests.perf.constant")


def run(effort: Effort) -> Iterator[Figure]:
    """All three webhooks run all the time, and are asked in turns."""
    count = effort.count(REQUESTS) // CONNECTIONS // TURNS
    with ExitStack() as stack:
        full = stack.enter_context(Webhook(_folder(stack)))
        bare = stack.enter_context(Webhook(_folder(stack), ["--log-level=error"], command=BARE))
        constant = stack.enter_context(Webhook(_folder(stack), ["--log-level=error"], command=CONSTANT))
        webhooks = {"with metrics and logging": full, "without": bare, "to a constant route": constant}
        for webhook in webhooks.values():
            uvloop.run(drive(webhook, 1, WARMING))
        turns = [[_measure(webhook, count) for webhook in webhooks.values()] for _ in range(TURNS)]
    with_, without, floor = map(min, zip(*turns, strict=True))
    for name, least in zip(webhooks, (with_, without, floor), strict=True):
        yield Figure(f"CPU time of a request {name}, least of {TURNS} turns", least, "µs")
    yield Figure("metrics and logging, of the time of a request", (1 - without / with_) * 100, "%", AIM)
    yield Figure("a request with metrics and logging / to a constant route", with_ / floor, "", RATIO_AIM)


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


def _measure(webhook: Webhook, count: int) -> float:
    """CPU time of the webhook for a request, in microseconds."""
    before = cpu_nanoseconds(webhook.child.pid)
    answered = len(uvloop.run(drive(webhook, CONNECTIONS, count)))
    return (cpu_nanoseconds(webhook.child.pid) - before) / answered / 1000
