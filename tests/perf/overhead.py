"""What metrics and logging cost the webhook: as it is by default, and without both, in turns.

Throughput on eight connections, and the CPU time of the webhook for each request. One process answers all requests, so
the one is limited by the other; CPU time is the steadier figure where the machine has other things to do.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import uvloop

from tests.guard import Webhook
from tests.perf.figures import Effort, Figure
from tests.perf.machine import cpu_seconds
from tests.perf.webhook import REQUESTS, WARMING, drive

TURNS = 5
CONNECTIONS = 8
AIM = 10.0
BARE = (sys.executable, "-m", "tests.perf.bare")


def run(effort: Effort) -> Iterator[Figure]:
    """Both webhooks run all the time, and are asked in turns."""
    count = effort.count(REQUESTS) // CONNECTIONS // TURNS
    rates, costs = dict[str, list[float]](), dict[str, list[float]]()
    with ExitStack() as stack:
        full = stack.enter_context(Webhook(_folder(stack)))
        bare = stack.enter_context(Webhook(_folder(stack), ["--log-level=error"], command=BARE))
        webhooks = {"with metrics and logging": full, "without": bare}
        for webhook in webhooks.values():
            uvloop.run(drive(webhook, 1, WARMING))
        for _ in range(TURNS):
            for name, webhook in webhooks.items():
                rate, cost = _measure(webhook, count)
                rates.setdefault(name, []).append(rate)
                costs.setdefault(name, []).append(cost)
    for name in webhooks:
        yield Figure(f"throughput {name}, median of {TURNS}", median(rates[name]), "requests/s")
        yield Figure(f"CPU time of a request {name}, median of {TURNS}", median(costs[name]) * 1e6, "µs")
    with_, without = (median(costs[name]) for name in webhooks)
    yield Figure("cost of metrics and logging, of throughput", (1 - without / with_) * 100, "%", AIM)


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


def _measure(webhook: Webhook, count: int) -> tuple[float, float]:
    """Requests a second, and CPU seconds a request."""
    pid = webhook.child.pid
    before, began = cpu_seconds(pid), time.perf_counter()
    answered = len(uvloop.run(drive(webhook, CONNECTIONS, count)))
    return answered / (time.perf_counter() - began), (cpu_seconds(pid) - before) / answered
