"""A queue of keys to reconcile, with client-go's rules: deduplicated, delayed, never twice at a time."""

import heapq
import math
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, Protocol, TypeVar

from app.controller.lanes import Lane, Lanes, Rank
from app.kube.timing import backoff

K = TypeVar("K", bound=Hashable)


class Meter(Protocol):
    """Receives what happens in a queue, immediately and under its lock; times in seconds."""

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
            except Forbidden:
                queue.refuse(key)
            except ApiError:
                queue.retry(key)
            else:
                queue.forget(key)
            finally:
                queue.done(key)

    Groups of keys take turns, and changed keys come before keys that are only checked again. While a group is alone,
    workers hold up to `common` keys of it, otherwise one. `base` and `cap` bound the back-off of a key after `retry`,
    in seconds, `base` and `longest_pause` that of a group after `refuse`.
    """

    def __init__(  # noqa: PLR0913 - all settings with their defaults
        self,
        *,
        group: Callable[[K], Hashable] = lambda _key: None,
        common: float = math.inf,
        base: float = 0.05,
        cap: float = 60.0,
        longest_pause: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter
        self._base = base
        self._cap = cap
        self._clock = clock
        self._changed = threading.Condition()
        self._lanes = Lanes[K](group, common, lambda failures: backoff(failures, base, longest_pause))
        self._held: dict[K, tuple[float, Lane[K]]] = {}  # since when, and from which lane
        self._again: dict[K, float] = {}  # added while held, since when
        self._parked = set[K]()  # refused while held
        self._schedule: list[tuple[float, int, K]] = []  # a heap by due time; the number breaks ties
        self._due: dict[K, float] = {}  # the one valid due time per key: others in the heap are stale
        self._scheduled = 0
        self._failures: dict[K, int] = {}
        self._shut_down = False

    def add(self, key: K, *, changed: bool = True) -> None:
        """Let a worker have the key as soon as one is free; `changed` is false if it is only checked again."""
        with self._changed:
            self._add(key, self._clock(), Rank.CHANGED if changed else Rank.UNCHANGED)

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

    def refuse(self, key: K) -> bool:
        """Put a held key into the lane of rejected keys of its group; returns whether it is the first there."""
        with self._changed:
            if key not in self._held:
                return False
            since, lane = self._held[key]
            self._parked.add(key)
            if self._meter:
                self._meter.retried()
            return self._lanes.refuse(lane, since, self._clock())

    def forget(self, key: K) -> None:
        """Reset the delay of a key that succeeded or was given up."""
        with self._changed:
            self._failures.pop(key, None)
            if key in self._held:
                self._lanes.succeed(self._held[key][1])

    def failures(self, key: K) -> int:
        """How many times the key was retried since the last `forget`."""
        with self._changed:
            return self._failures.get(key, 0)

    def get(self, timeout: float | None = None) -> K | None:
        """Return the next key, which the worker then holds; None after `timeout` seconds or after shutdown."""
        with self._changed:
            deadline = None if timeout is None else self._clock() + timeout
            while not self._shut_down:
                now = self._clock()
                self._promote(now)
                if (key := self._hold(now)) is not None:
                    return key
                if deadline is not None and deadline <= now:
                    return None
                self._changed.wait(self._seconds_to_wait(now, deadline))
            return None

    def done(self, key: K) -> None:
        """Give back a key that `get` returned."""
        with self._changed:
            if key not in self._held:
                return
            since, lane = self._held.pop(key)
            now, again = self._clock(), self._again.pop(key, None)
            parked = key in self._parked
            self._parked.discard(key)
            if self._meter:
                self._meter.finished(now - since)
            if (again is not None or parked) and not self._shut_down:
                rank = Rank.REJECTED if again is None else Rank.CHANGED
                self._lanes.put(key, now if again is None else again, rank)
            self._lanes.give_back(lane)
            self._changed.notify()

    def shut_down(self) -> None:
        """Return no more keys, and wake every worker. Waiting keys are dropped; the next leader adds them again."""
        with self._changed:
            self._shut_down = True
            self._changed.notify_all()

    def __len__(self) -> int:
        """Number of keys that a free worker could take now."""
        with self._changed:
            now = self._clock()
            self._promote(now)
            return self._lanes.count(now)

    def oldest(self) -> float:
        """Seconds for which the oldest key has been waiting for a worker; 0 when none is."""
        with self._changed:
            now = self._clock()
            self._promote(now)
            return now - min((*self._lanes.times(now), *self._again.values()), default=now)

    def refused(self) -> Mapping[Hashable, int]:
        """Number of keys that wait because of rejections or are being tried again, by group."""
        with self._changed:
            return self._lanes.refused()

    def working(self) -> tuple[float, ...]:
        """Seconds for which workers have held the keys that they hold now."""
        with self._changed:
            now = self._clock()
            return tuple(now - since for since, _ in self._held.values())

    def open(self) -> None:
        """Restart the waiting time of all keys, because until now there was no worker."""
        with self._changed:
            self._lanes.restart(self._clock())

    def _add(self, key: K, since: float, rank: Rank = Rank.CHANGED) -> None:
        if self._shut_down:
            return
        if key in self._held:
            new = key not in self._again
            self._again.setdefault(key, since)
        else:
            new = self._lanes.put(key, since, rank)
        if self._meter and new:
            self._meter.added()
        self._changed.notify()

    def _promote(self, now: float) -> None:
        while self._schedule and self._schedule[0][0] <= now:
            due, _, key = heapq.heappop(self._schedule)
            if self._due.get(key) == due:
                del self._due[key]
                self._add(key, due)

    def _hold(self, now: float) -> K | None:
        taken = self._lanes.take(now)
        if taken is None:
            return None
        key, since, lane = taken
        self._held[key] = now, lane
        if self._meter:
            self._meter.started(now - since)
        # This worker is busy from now on, so another one must wait for the next delayed key. The condition may have
        # woken a worker that does not wait for it.
        self._changed.notify()
        return key

    def _seconds_to_wait(self, now: float, deadline: float | None) -> float | None:
        ends = [due for due, *_ in self._schedule[:1]]
        ends += [end for end in (self._lanes.next_end(), deadline) if end is not None]
        return min(ends) - now if ends else None
