"""Waiting keys in lanes: each group has one for changed keys, one for unchanged keys and one for rejected keys.

Lanes take turns, so a group with many keys delays another group by at most one turn. Changed keys come before keys that
are only checked again: a controller that starts checks every key, and a new one does not wait for that. After a
rejection a lane pauses, longer each time, and then tries one key at a time until one succeeds. So a group whose writes
are all rejected costs one attempt per lane and pause, regardless of its number of keys, and rejected keys delay neither
other groups nor new keys.
"""

import enum
import heapq
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

ALONE_SECONDS = 1.0
"""A group counts as alone if workers hold no key of another group, and have taken none for so many seconds."""
OVERTAKING = 8
"""Maximum number of keys that overtake unchanged keys in a row: those are never left waiting for good."""


class Rank(enum.IntEnum):
    """Why a key waits. A key that waits for two reasons has the first of them."""

    CHANGED = 0
    """Something that decides it has changed."""
    UNCHANGED = 1
    """It is only checked again."""
    REJECTED = 2
    """The API server rejected its writes."""


@dataclass(slots=True, eq=False)
class Lane(Generic[K]):
    """Keys of one group, in the order in which they came."""

    group: Hashable
    rank: Rank
    waiting: dict[K, float] = field(default_factory=dict)
    """Since when."""
    held: int = 0
    failures: int = 0
    until: float = 0.0
    """The end of its pause."""


class Lanes(Generic[K]):
    """The lanes of all groups; not safe for threads.

    While a group is alone, workers hold up to `common` keys of it. Otherwise workers hold one key of each group,
    because many writes of one group slow down the writes of the others. `pause` returns the length of a pause after a
    number of rejections in a row.
    """

    def __init__(self, group: Callable[[K], Hashable], common: float, pause: Callable[[int], float]) -> None:
        self._group = group
        self._common = common
        self._held = 0
        self._takers: list[tuple[Hashable, float]] = []  # the last two groups that took a key, and when
        self._pause = pause
        self._groups: dict[Hashable, tuple[Lane[K], ...]] = {}  # by rank
        # Lanes with a key to take, in the order of their turns: those of unchanged keys, and the others.
        self._turns: dict[bool, dict[Lane[K], None]] = {False: {}, True: {}}
        self._overtaken = 0
        self._troubled: dict[Lane[K], None] = {}
        self._pauses: list[tuple[float, int, Lane[K]]] = []  # a heap by their ends; the number breaks ties
        self._paused = 0
        self._open = 0  # keys in lanes without rejections

    def put(self, key: K, since: float, rank: Rank = Rank.CHANGED) -> bool:
        """Add a key; returns whether it was not waiting yet. It leaves the lanes of the ranks after its own."""
        lanes = self._lanes_of(self._group(key))
        if any(key in lane.waiting for lane in lanes[: rank + 1]):
            return False
        new = True
        for lane in lanes[rank + 1 :]:
            if lane.waiting.pop(key, None) is not None:
                new = False
                self._open -= not lane.failures
        lane = lanes[rank]
        lane.waiting[key] = since
        self._open += not lane.failures
        self._offer(lane)
        return new

    def take(self, now: float) -> tuple[K, float, Lane[K]] | None:
        """Take the next key, with the time at which it began to wait; call `give_back` for its lane afterwards."""
        self._resume(now)
        unchanged_first = self._overtaken >= OVERTAKING
        lane = self._next(now, unchanged=unchanged_first) or self._next(now, unchanged=not unchanged_first)
        if lane is None:
            return None
        self._overtaken = 0 if lane.rank is Rank.UNCHANGED else self._overtaken + 1
        key, since = next(iter(lane.waiting.items()))
        del lane.waiting[key]
        lane.held += 1
        self._held += 1
        self._takers = [(lane.group, now), *(taker for taker in self._takers if taker[0] != lane.group)][:2]
        self._open -= not lane.failures
        self._offer(lane)
        return key, since, lane

    def give_back(self, lane: Lane[K]) -> None:
        """Note that the work on a key of a lane has ended."""
        lane.held -= 1
        self._held -= 1
        lanes = self._groups[lane.group]
        if any(each_lane.waiting or each_lane.held for each_lane in lanes):
            for each_lane in lanes:
                self._offer(each_lane)
            return
        del self._groups[lane.group]
        for each_lane in lanes:
            self._turns_of(each_lane).pop(each_lane, None)
            self._troubled.pop(each_lane, None)

    def succeed(self, lane: Lane[K]) -> None:
        """Note that a key of a lane was not rejected, so the others need not wait."""
        if lane.failures:
            lane.failures, lane.until = 0, 0.0
            self._troubled.pop(lane, None)
            self._open += len(lane.waiting)
            self._offer(lane)

    def refuse(self, lane: Lane[K], taken: float, now: float) -> bool:
        """Note that a key, taken at some time, was rejected; returns whether this is the first rejection of its group.

        Keys that were taken before a pause began do not lengthen it, because they were rejected for the same reason.
        """
        lanes = self._groups[lane.group]
        news = not any(each_lane.failures for each_lane in lanes)
        if taken >= lane.until or not lane.failures:
            self._make_pause(lane, now)
        if not lanes[Rank.REJECTED].failures:  # the key goes there
            self._make_pause(lanes[Rank.REJECTED], now)
        return news

    def count(self, now: float) -> int:
        """Count the keys that wait for nothing but a worker."""
        self._resume(now)
        return self._open + sum(self._may_go(lane, now) for lane in self._troubled)

    def times(self, now: float) -> Iterator[float]:
        """Yield the times at which the keys of `count` began to wait."""
        self._resume(now)
        for lanes in self._groups.values():
            for lane in lanes:
                if not lane.failures:
                    yield from lane.waiting.values()
                elif self._may_go(lane, now):
                    yield next(iter(lane.waiting.values()))

    def restart(self, now: float) -> None:
        """Restart the waiting time of all keys."""
        for lanes in self._groups.values():
            for lane in lanes:
                lane.waiting = dict.fromkeys(lane.waiting, now)

    def refused(self) -> Mapping[Hashable, int]:
        """Count the keys in lanes with rejections, by group; a key that is being tried again is still one of them."""
        found: dict[Hashable, int] = {}
        for lane in self._troubled:
            found[lane.group] = found.get(lane.group, 0) + len(lane.waiting) + lane.held
        return {group: count for group, count in found.items() if count}

    def next_end(self) -> float | None:
        """Return when the next pause ends."""
        return self._pauses[0][0] if self._pauses else None

    def _lanes_of(self, group: Hashable) -> tuple[Lane[K], ...]:
        """Return the lanes of a group, by rank."""
        if group not in self._groups:
            self._groups[group] = tuple(Lane(group, rank) for rank in Rank)
        return self._groups[group]

    def _turns_of(self, lane: Lane[K]) -> dict[Lane[K], None]:
        return self._turns[lane.rank is Rank.UNCHANGED]

    def _next(self, now: float, *, unchanged: bool) -> Lane[K] | None:
        """Return the lane whose turn it is, with a key that may be taken."""
        turns = self._turns[unchanged]
        while turns:
            lane = next(iter(turns))
            del turns[lane]
            if self._may_go(lane, now):
                return lane
        return None

    def _make_pause(self, lane: Lane[K], now: float) -> None:
        if not lane.failures:
            self._open -= len(lane.waiting)
            self._troubled[lane] = None
        lane.failures += 1
        lane.until = now + self._pause(lane.failures)
        self._turns_of(lane).pop(lane, None)
        self._paused += 1
        heapq.heappush(self._pauses, (lane.until, self._paused, lane))

    def _resume(self, now: float) -> None:
        while self._pauses and self._pauses[0][0] <= now:
            _, _, lane = heapq.heappop(self._pauses)
            if lane.until <= now:
                self._offer(lane)

    def _offer(self, lane: Lane[K]) -> None:
        """Give a lane a turn, if it has none; whether it may take a key is decided then."""
        if lane.waiting:
            self._turns_of(lane).setdefault(lane)

    def _may_go(self, lane: Lane[K], now: float) -> bool:
        if not lane.waiting or lane.until > now or (lane.failures and lane.held):
            return False
        held = sum(other.held for other in self._groups[lane.group])
        return not held or (held < self._common and self._alone(lane.group, held, now))

    def _alone(self, group: Hashable, held: int, now: float) -> bool:
        quiet = all(taker == group or now - when > ALONE_SECONDS for taker, when in self._takers)
        return quiet and held == self._held
