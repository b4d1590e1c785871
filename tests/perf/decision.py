"""Verdict and response inside the process: CPU time from the bytes of a request to the bytes of its response."""

from collections.abc import Iterator
from functools import partial
from statistics import median
from time import process_time
from timeit import repeat

from app.core.policy.model import default_policy
from app.webhook.admission import Stage, answer
from tests.perf.figures import Effort, Figure
from tests.perf.objects import large_review, small_review

ROUNDS = 300
CALLS = 100


def run(effort: Effort) -> Iterator[Figure]:
    """Per request, the median over rounds of 100."""
    policy = default_policy()
    for body in (small_review(), large_review()):
        for stage in Stage:
            call = partial(answer, stage, body, policy)
            rounds = repeat(call, timer=process_time, number=CALLS, repeat=effort.count(ROUNDS))
            yield Figure(f"{stage.value}, a review of {len(body):,} bytes", median(rounds) / CALLS * 1e6, "µs")
