"""A queue of keys to reconcile, with client-go's rules: deduplicated, delayed, never twice at a time."""

import heapq
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from app.kube.backoff import backoff

K = TypeVar("K", bound=Hashable)


class Meter(Protocol):
    """Is told what happens in a queue, at once and under its lock; times in seconds."""

    def added(self) -> None: ...

    def retried(self) -> None: ...

    def started(self, waited: float) -> None: ...

    def finished(self, worked: float) -> None: ...


class WorkQueue(Generic[K]):
    """Keys for any number of worker threads.

    A key that waits is held once, however often it is added. A key that a worker holds is given to no other
    worker; when it is added meanwhile, it comes again after `done`. The worker's loop:

        while (key := queue.get()) is not None:
            try:
                reconcile(key)
            except ApiError:
                queue.retry(key)
            else:
                queue.forget(key)
            finally:
                queue.done(key)

    `base` and `cap` bound the per-key back-off of `retry`, in seconds.
    """

    def __init__(
        self,
        *,
        base: float = 0.05,
        cap: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter
        self._base = base
        self._cap = cap
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[K, float] = {}  # since when, in order of arrival
        self._held: dict[K, float] = {}  # since when
        self._again: dict[K, float] = {}  # added while held, since when
        self._schedule: list[tuple[float, int, K]] = []  # a heap by due time; the number breaks ties
        self._due: dict[K, float] = {}  # the one valid due time per key: others in the heap are stale
        self._scheduled = 0
        self._failures: dict[K, int] = {}
        self._shut_down = False

    def add(self, key: K) -> None:
        """Let a worker have the key as soon as one is free."""
        with self._changed:
            self._add(key, self._clock())

    def add_after(self, key: K, seconds: float) -> None:
        """Add the key when `seconds` have passed; of several delays the earliest counts."""
        with self._changed:
            due = self._clock() + seconds
            if self._shut_down or self._due.get(key, due + 1) <= due:
                return
            self._due[key] = due
            self._scheduled += 1
            heapq.heappush(self._schedule, (due, self._scheduled, key))
            self._changed.notify()

    def retry(self, key: K) -> None:
        """Add the key after a delay that doubles with every `retry` since the last `forget`."""
        with self._changed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            if self._meter:
                self._meter.retried()
        self.add_after(key, backoff(failures, self._base, self._cap))

    def forget(self, key: K) -> None:
        """The key succeeded or is given up: its next `retry` starts with the shortest delay."""
        with self._changed:
            self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How many times the key was retried since the last `forget`."""
        with self._changed:
            return self._failures.get(key, 0)

    def get(self, timeout: float | None = None) -> K | None:
        """Hold the key that has waited longest, or None after `timeout` seconds or once shut down."""
        with self._changed:
            deadline = None if timeout is None else self._clock() + timeout
            while not self._shut_down:
                now = self._clock()
                self._promote(now)
                if self._waiting:
                    return self._hold()
                if deadline is not None and deadline <= now:
                    return None
                self._changed.wait(self._seconds_to_wait(now, deadline))
            return None

    def done(self, key: K) -> None:
        """Give back a key that `get` returned."""
        with self._changed:
            since = self._held.pop(key, None)
            if self._meter and since is not None:
                self._meter.finished(self._clock() - since)
            if (again := self._again.pop(key, None)) is not None and not self._shut_down:
                self._waiting[key] = again
                self._changed.notify()

    def shut_down(self) -> None:
        """Hand out nothing more and wake every worker. What waits is dropped: its next observer adds it anew."""
        with self._changed:
            self._shut_down = True
            self._changed.notify_all()

    def __len__(self) -> int:
        """How many keys could be worked on now if a worker were free."""
        with self._changed:
            self._promote(self._clock())
            return len(self._waiting)

    def oldest(self) -> float:
        """Seconds for which the oldest key has been waiting for a worker; 0 when none is."""
        with self._changed:
            now = self._clock()
            self._promote(now)
            return now - min((*self._waiting.values(), *self._again.values()), default=now)

    def working(self) -> tuple[float, ...]:
        """Seconds for which workers have held the keys that they hold now."""
        with self._changed:
            now = self._clock()
            return tuple(now - since for since in self._held.values())

    def open(self) -> None:
        """Count the time that keys wait from now on: until now, there was nobody to wait for."""
        with self._changed:
            now = self._clock()
            self._waiting = dict.fromkeys(self._waiting, now)

    def _add(self, key: K, since: float) -> None:
        if self._shut_down:
            return
        place = self._again if key in self._held else self._waiting
        if self._meter and key not in place:
            self._meter.added()
        place.setdefault(key, since)
        self._changed.notify()

    def _promote(self, now: float) -> None:
        while self._schedule and self._schedule[0][0] <= now:
            due, _, key = heapq.heappop(self._schedule)
            if self._due.get(key) == due:
                del self._due[key]
                self._add(key, due)

    def _hold(self) -> K:
        key, now = next(iter(self._waiting)), self._clock()
        waited = now - self._waiting.pop(key)
        self._held[key] = now
        if self._meter:
            self._meter.started(waited)
        if self._waiting or self._schedule:
            # This worker is busy from now on. Another one has to wait for what is next, and a condition does not
            # promise that it woke the one that knows of it.
            self._changed.notify()
        return key

    def _seconds_to_wait(self, now: float, deadline: float | None) -> float | None:
        ends = [due for due, *_ in self._schedule[:1]]
        if deadline is not None:
            ends.append(deadline)
        return min(ends) - now if ends else None
