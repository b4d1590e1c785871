"""The delay before a retry."""

import random

_LARGEST_EXPONENT = 60  # 2.0**1024 raises, and failures are counted without end


def backoff(failures: int, base: float, cap: float) -> float:
    """Seconds to wait after `failures` (at least 1) failures in a row: `base` doubled each time, up to `cap`.

    The last half of it is random, so that clients which failed together do not come back together.
    """
    longest = min(cap, base * 2.0 ** min(failures - 1, _LARGEST_EXPONENT))
    return jittered(longest / 2, longest)


def jittered(shortest: float, longest: float) -> float:
    """Any number of seconds from `shortest` to `longest`."""
    return random.uniform(shortest, longest)  # noqa: S311 - spreads load, guards no secret
