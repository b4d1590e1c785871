"""Verdict and response inside the process: CPU time from the bytes of a request to the bytes of its response.

The speed of a shared machine changes within seconds. So each round also times additions, and the second figure is the
least time of a round where the least time of a million additions is 65 ms: that is the one to compare.
"""

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from time import process_time

from app.core.policy.model import default_policy
from app.webhook.admission import Stage, answer
from tests.perf.figures import Effort, Figure
from tests.perf.objects import large_review, small_review

ROUNDS, CALLS, ADDITIONS = 1000, 50, 100_000
YARDSTICK, AIM = 65e-9, 100.0
"""Seconds of an addition on the machine for which the aim was set, and the aim in µs."""


def run(effort: Effort) -> Iterator[Figure]:
    """Per request, the median over rounds of 50."""
    policy = default_policy()
    for body in (small_review(), large_review()):
        for stage in Stage:
            decide = partial(answer, stage, body, policy)
            rounds = [(_seconds(decide), _addition()) for _ in range(effort.count(ROUNDS))]
            name = f"{stage.value}, a review of {len(body):,} bytes"
            yield Figure(name, median(seconds for seconds, _ in rounds) * 1e6, "µs")
            compared = min(seconds for seconds, _ in rounds) / min(addition for _, addition in rounds)
            yield Figure(f"{name}, where a million additions take 65 ms", compared * YARDSTICK * 1e6, "µs", AIM)


def _seconds(call: Callable[[], object]) -> float:
    began = process_time()
    for _ in range(CALLS):
        call()
    return (process_time() - began) / CALLS


def _addition() -> float:
    total, began = 0, process_time()
    for number in range(ADDITIONS):
        total += number
    return (process_time() - began) / ADDITIONS
