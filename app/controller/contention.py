"""Objects of the guard that another client changes or deletes again and again.

A repair of such an object is undone at once, and the two clients would write in a loop. So the first repairs are made
immediately, and each further one after a longer delay. The count starts again when the entries or the policy have
changed, or when the object was left alone for some time.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.kube.timing import CLOCK, Clock, backoff

K = TypeVar("K", bound=Hashable)

IMMEDIATE = 3
"""Number of repairs that are made without a delay: a person who edits an object by hand sees the effect at once."""
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
"""Bounds of the delay before a further repair, in seconds."""
QUIET_SECONDS = 600.0
"""An object that was left alone for so long starts with immediate repairs again."""
KNOWN = 1000
"""Maximum number of keys that are remembered, those written last."""


class Contested(Exception):
    """A repair that is not made yet; `seconds` is the delay, and `first` whether it was not announced before."""

    def __init__(self, seconds: float, *, first: bool) -> None:
        super().__init__(f"changed again and again; next repair in {seconds:.1f} s")
        self.seconds = seconds
        self.first = first


@dataclass(slots=True)
class _Last:
    """The last write of a key."""

    situation: Hashable
    moment: float
    repairs: int = 0
    delay: float = 0.0
    announced: bool = False


class Contention(Generic[K]):
    """Remembers in which situation each key was written last; safe for threads.

    A situation is everything that decides the objects of a key. A write in the same situation as the last one is a
    repair: nothing but the object can have changed.
    """

    def __init__(self, clock: Clock = CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = OrderedDict[K, _Last]()

    def check(self, key: K, situation: Hashable) -> None:
        """Raise Contested if a key must not be written yet."""
        with self._lock:
            last = self._last.get(key)
            if last is None or not self._is_repair(last, situation):
                return
            remaining = last.moment + last.delay - self._clock()
            if remaining > 0:
                first, last.announced = not last.announced, True
                raise Contested(remaining, first=first)

    def written(self, key: K, situation: Hashable) -> None:
        """Note that a key was written."""
        with self._lock:
            last = self._last.pop(key, None)
            repairs = last.repairs + 1 if last and self._is_repair(last, situation) else 0
            delay = backoff(repairs - IMMEDIATE + 1, FIRST_DELAY, LONGEST_DELAY) if repairs >= IMMEDIATE else 0.0
            self._last[key] = _Last(situation, self._clock(), repairs, delay)
            while len(self._last) > KNOWN:
                self._last.popitem(last=False)

    def _is_repair(self, last: _Last, situation: Hashable) -> bool:
        return last.situation == situation and self._clock() < last.moment + QUIET_SECONDS
