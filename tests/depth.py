"""How much a test tries: little where a person waits for the result, much in `make deep`."""

import os

DEEP = "DEEP" in os.environ
"""Whether this is the deep run. It tries new examples each time; in CI the usual run tries the same ones each time."""
USUAL = 30


def examples(deep: int) -> int:
    """Return the number of examples for a property that is tried with `deep` ones in the deep run."""
    return deep if DEEP else max(USUAL, deep // 5)


def sized(deep: int, usual: int) -> int:
    """Return the number of objects for a test that is as valid with `usual` ones; the deep run takes `deep`."""
    return deep if DEEP else usual
