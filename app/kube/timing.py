"""Time in calls to the API server: delays before retries, rates of writes, and time stamps."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

Clock = Callable[[], float]
"""Returns seconds from any start; never goes back."""

# Monotonic, so that no correction of the wall clock moves the fence. If available, the clock that runs while the
# machine sleeps: a leader that wakes up after its Lease must not believe that no time has passed.
CLOCK: Clock = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

_LARGEST_EXPONENT = 60  # 2.0**1024 raises, and failures are counted without end


def backoff(failures: int, base: float, cap: float) -> float:
    """Return the seconds to wait after `failures` in a row (at least 1): `base`, doubled each time up to `cap`.

    Its second half is random, so that clients that failed together do not retry together.
    """
    longest = min(cap, base * 2.0 ** min(failures - 1, _LARGEST_EXPONENT))
    return jittered(longest / 2, longest)


def jittered(shortest: float, longest: float) -> float:
    """Return a random number of seconds from `shortest` to `longest`."""
    return random.uniform(shortest, longest)  # noqa: S311 - spreads load, guards no secret


class TokenBucket:
    """A token bucket: `rate` tokens per second, at most `burst` saved; full at first."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled = clock()

    def take(self) -> float:
        """Take a token, and return the seconds to wait for it."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate) - 1
        self._filled = now
        return max(0.0, -self._tokens / self._rate)


def micro_time(moment: datetime | None = None) -> str:
    """Return a moment in UTC, or the current time, as RFC 3339 with microseconds: MicroTime accepts nothing else."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
