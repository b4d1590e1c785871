"""How many examples a property tries: few where a person waits for the result, many in `make deep`."""

import os

DEEP = "DEEP" in os.environ
"""Whether this is the deep run. It tries new examples each time; in CI the usual run tries the same ones each time."""
USUAL = 30


def examples(deep: int) -> int:
    """Return the number of examples for a property that is tried with `deep` ones in the deep run."""
    return deep if DEEP else max(USUAL, deep // 5)
