"""The rules of the work queue, as a state machine with a clock of its own and with real threads."""

import threading
import time
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.controller.workqueue import WorkQueue

KEYS = st.sampled_from("abcd")
SECONDS = st.integers(0, 9)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class QueueMachine(RuleBasedStateMachine):
    """Compares the queue with sets and dictionaries that say what each key should be."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue: WorkQueue[str] = WorkQueue(base=1, cap=4, clock=self.clock)
        self.waiting: dict[str, float] = {}
        self.again: dict[str, float] = {}
        self.held: set[str] = set()
        self.delayed: dict[str, float] = {}
        self.failures: dict[str, int] = {}

    def arrive(self, key: str, since: float) -> None:
        (self.again if key in self.held else self.waiting).setdefault(key, since)

    def promote(self) -> None:
        due = sorted((at, key) for key, at in self.delayed.items() if at <= self.clock.now)
        for at, key in due:
            del self.delayed[key]
            self.arrive(key, at)

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.arrive(key, self.clock.now)

    @rule(key=KEYS, seconds=SECONDS)
    def add_after(self, key: str, seconds: int) -> None:
        self.queue.add_after(key, seconds)
        due = self.clock.now + seconds
        self.delayed[key] = min(due, self.delayed.get(key, due))

    @rule(seconds=SECONDS)
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds
        self.promote()

    @rule()
    def get(self) -> None:
        self.promote()
        key = self.queue.get(timeout=0)
        if key is None:
            assert not self.waiting
            return
        assert key in self.waiting, "only what waits is handed out"
        assert key not in self.held, "no key is held twice"
        del self.waiting[key]
        self.held.add(key)

    @rule(key=KEYS)
    def done(self, key: str) -> None:
        self.queue.done(key)
        self.held.discard(key)
        if key in self.again:
            self.arrive(key, self.again.pop(key))

    @rule(key=KEYS)
    def retry_and_let_its_longest_delay_pass(self, key: str) -> None:
        failures = self.failures[key] = self.failures.get(key, 0) + 1
        self.queue.retry(key)
        self.clock.now += min(4, 2.0 ** (failures - 1))
        self.delayed.pop(key, None)  # either delay is over by now, and there is one delay for a key
        self.arrive(key, self.clock.now)
        self.promote()

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.failures.pop(key, None)

    @invariant()
    def counts_agree(self) -> None:
        self.promote()
        assert len(self.queue) == len(self.waiting)
        assert all(self.queue.failures(key) == self.failures.get(key, 0) for key in "abcd")

    @invariant()
    def nothing_is_kept_that_is_over(self) -> None:
        assert set(self.queue._failures) == set(self.failures)
        assert set(self.queue._due) == set(self.delayed)


TestQueueMachine = QueueMachine.TestCase


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_keys_come_in_the_order_in_which_they_began_to_wait() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "caba":
        queue.add(key)
    assert [queue.get(0), queue.get(0), queue.get(0), queue.get(0)] == ["c", "a", "b", None]


def test_a_key_added_while_held_comes_again_after_done_and_only_then() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("a")
    assert queue.get(0) is None
    queue.done("a")
    assert queue.get(0) == "a"


def test_of_two_delays_the_earlier_counts_and_the_later_vanishes() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add_after("a", 9)
    queue.add_after("a", 3)
    queue.add_after("a", 6)
    clock.now += 3
    assert queue.get(0) == "a"
    queue.done("a")
    clock.now += 20
    assert queue.get(0) is None


def test_the_age_is_that_of_the_key_that_waits_longest_for_a_worker() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    assert queue.oldest() == 0
    queue.add_after("late", 5)
    clock.now += 2
    queue.add("a")
    clock.now += 1
    queue.add("a")
    assert queue.oldest() == 1
    queue.get(0)
    assert queue.oldest() == 0
    queue.add("a")
    clock.now += 4
    assert queue.oldest() == 4, "waiting for the worker that holds the key counts as well"


@pytest.mark.parametrize(("failures", "longest"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (2000, 8)])
def test_each_failure_doubles_the_delay_up_to_the_cap_and_half_of_it_is_chance(failures: int, longest: int) -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(base=1, cap=8, clock=clock)
    for _ in range(failures - 1):
        queue.retry("a")
        clock.now += 8
    while queue.get(0) is not None:
        queue.done("a")
    queue.retry("a")
    clock.now += longest / 2 - 0.001
    assert queue.get(0) is None
    clock.now += longest / 2 + 0.001
    assert queue.get(0) == "a"


def test_after_forget_the_delay_starts_again() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(base=1, cap=100, clock=clock)
    for _ in range(5):
        queue.retry("a")
    queue.forget("a")
    clock.now += 100
    assert queue.get(0) == "a"
    queue.done("a")
    queue.retry("a")
    clock.now += 1
    assert queue.get(0) == "a"


def test_a_waiting_worker_gets_an_added_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    got: list[str | None] = []
    thread = in_thread(lambda: got.append(queue.get()))
    queue.add("a")
    thread.join(60)
    assert got == ["a"]


def test_a_delay_ends_for_one_worker_while_another_is_busy_with_an_earlier_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    got: dict[str, float] = {}
    began = time.monotonic()

    def work() -> None:
        key = queue.get(timeout=60)
        assert key is not None
        got[key] = time.monotonic() - began

    threads = [in_thread(work) for _ in range(2)]  # neither gives its key back
    queue.add_after("second", 0.2)
    queue.add_after("first", 0.1)
    for thread in threads:
        thread.join(60)
    assert got.keys() == {"first", "second"}
    assert 0.1 <= got["first"] <= got["second"] < 60
    assert got["second"] >= 0.2


def test_get_gives_up_after_its_timeout() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 60)
    began = time.monotonic()
    assert queue.get(timeout=0.05) is None
    assert 0.05 <= time.monotonic() - began < 30


def test_shutting_down_wakes_every_worker_and_takes_nothing_more() -> None:
    queue: WorkQueue[str] = WorkQueue()
    got: list[str | None] = []
    threads = [in_thread(lambda: got.append(queue.get())) for _ in range(3)]
    queue.shut_down()
    for thread in threads:
        thread.join(60)
    assert got == [None, None, None]
    queue.add("a")
    queue.add_after("b", 0)
    assert queue.get() is None
    assert len(queue) == 0


def test_no_key_is_ever_worked_on_twice_at_a_time_nor_lost_by_many_workers() -> None:
    queue: WorkQueue[int] = WorkQueue(base=0.0001, cap=0.001)
    lock = threading.Lock()
    at_work: set[int] = set()
    overlaps: list[int] = []
    seen: dict[int, int] = dict.fromkeys(range(20), 0)
    wanted: dict[int, int] = dict.fromkeys(range(20), 0)
    turns = count()

    def work() -> None:
        while (key := queue.get()) is not None:
            with lock:
                if key in at_work:
                    overlaps.append(key)
                at_work.add(key)
                seen[key] = wanted[key]
            if next(turns) % 3 == 0:
                queue.retry(key)
            with lock:
                at_work.discard(key)
            queue.done(key)

    workers = [in_thread(work) for _ in range(4)]
    for turn in range(2000):
        with lock:
            wanted[turn % 20] = turn
        queue.add(turn % 20)
    deadline = time.monotonic() + 10
    while seen != wanted and time.monotonic() < deadline:
        time.sleep(0.005)
    queue.shut_down()
    for worker in workers:
        worker.join(60)
    assert not overlaps
    assert seen == wanted
