"""Namespaces take turns, and one whose writes are refused holds up nobody but itself."""

import math
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.controller.lanes import ALONE_SECONDS, OVERTAKING
from app.controller.workqueue import WorkQueue
from tests.unit.test_workqueue import Clock

Key = tuple[str, int]
CAP = 8.0
KEYS = st.tuples(st.sampled_from("ab"), st.integers(0, 2))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[Key]:
    return WorkQueue(group=lambda key: key[0], common=2, base=1, cap=CAP, longest_pause=CAP, clock=clock)


def put(queue: WorkQueue[Key], namespace: str, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        queue.add((namespace, number))


def work(queue: WorkQueue[Key]) -> Key | None:
    """Take a key and have it succeed."""
    key = queue.get(0)
    if key:
        queue.forget(key)
        queue.done(key)
    return key


def fail(queue: WorkQueue[Key]) -> Key | None:
    """Take a key and have its write refused."""
    key = queue.get(0)
    if key:
        queue.refuse(key)
        queue.done(key)
    return key


def test_namespaces_take_turns_however_many_keys_each_has(queue: WorkQueue[Key]) -> None:
    put(queue, "busy", 20_000)
    put(queue, "a", 2)
    put(queue, "b", 1)
    assert [work(queue) for _ in range(6)] == [("busy", 0), ("a", 0), ("b", 0), ("busy", 1), ("a", 1), ("busy", 2)]


def test_the_keys_of_a_namespace_come_in_the_order_in_which_they_began_to_wait(queue: WorkQueue[Key]) -> None:
    for number in (3, 1, 2, 1):
        queue.add(("a", number))
    assert [work(queue) for _ in range(4)] == [("a", 3), ("a", 1), ("a", 2), None]


def test_a_namespace_has_several_workers_as_long_as_it_is_alone(queue: WorkQueue[Key], clock: Clock) -> None:
    put(queue, "busy", 9)
    assert [queue.get(0), queue.get(0), queue.get(0)] == [("busy", 0), ("busy", 1), None]
    put(queue, "other", 1)
    assert [queue.get(0), queue.get(0)] == [("other", 0), None]
    for done in (("busy", 0), ("other", 0)):
        queue.done(done)
    assert queue.get(0) is None, "another namespace has just had a worker"
    queue.done(("busy", 1))
    assert [queue.get(0), queue.get(0)] == [("busy", 2), None]
    clock.now += ALONE_SECONDS + 1
    queue.done(("busy", 2))
    assert [queue.get(0), queue.get(0), queue.get(0)] == [("busy", 3), ("busy", 4), None], "it is alone again"


def test_a_namespace_is_not_alone_while_another_one_waits_for_a_write(queue: WorkQueue[Key], clock: Clock) -> None:
    for namespace in ("busy", "slow"):
        put(queue, namespace, 3)
    assert [queue.get(0), queue.get(0), queue.get(0)] == [("busy", 0), ("slow", 0), None]
    clock.now += ALONE_SECONDS + 1
    queue.done(("busy", 0))
    assert [queue.get(0), queue.get(0)] == [("busy", 1), None]


def test_every_namespace_has_a_worker_though_no_namespace_has_a_second_one(queue: WorkQueue[Key]) -> None:
    for namespace in "abcdef":
        put(queue, namespace, 2)
    assert [queue.get(0) for _ in range(7)] == [*((namespace, 0) for namespace in "abcdef"), None]


def check(queue: WorkQueue[Key], namespace: str, count: int, first: int = 0) -> None:
    """Add keys that have not changed, as a controller does when it starts."""
    for number in range(first, first + count):
        queue.add((namespace, number), changed=False)


def test_a_changed_key_does_not_wait_for_keys_that_are_only_checked_again(queue: WorkQueue[Key]) -> None:
    for namespace in "abc":
        check(queue, namespace, 1000)
    assert [work(queue) for _ in range(3)] == [("a", 0), ("b", 0), ("c", 0)]
    queue.add(("b", 5000))
    assert work(queue) == ("b", 5000)
    assert work(queue) == ("a", 1)


def test_a_key_that_changes_while_it_waits_to_be_checked_comes_first_and_once(queue: WorkQueue[Key]) -> None:
    check(queue, "a", 3)
    queue.add(("a", 2))
    check(queue, "a", 3)
    assert len(queue) == 3
    assert [work(queue) for _ in range(4)] == [("a", 2), ("a", 0), ("a", 1), None]


def test_changes_never_hold_up_checks_for_good(queue: WorkQueue[Key]) -> None:
    check(queue, "a", 5)
    taken = list[Key | None]()
    for number in range(100, 100 + 6 * OVERTAKING):
        queue.add(("b", number))
        queue.add(("a", number))
        taken.append(work(queue))
    checked = [turn for turn, key in enumerate(taken) if key and key[1] < 100]
    assert checked == [OVERTAKING + turn * (OVERTAKING + 1) for turn in range(5)]


def test_namespaces_take_turns_with_keys_that_are_only_checked(queue: WorkQueue[Key]) -> None:
    check(queue, "busy", 20_000)
    check(queue, "a", 1)
    assert [work(queue) for _ in range(3)] == [("busy", 0), ("a", 0), ("busy", 1)]


def test_a_refused_namespace_is_retried_with_increasing_delay_whatever_the_number_of_its_keys(
    queue: WorkQueue[Key], clock: Clock
) -> None:
    put(queue, "refused", 20_000)
    tried = Counter[int]()
    for second in range(1000):
        while fail(queue):
            tried[second] += 1
        clock.now += 1
    assert sum(tried.values()) < 2 * 1000 / (CAP / 2) + 20, "a probe of new keys and one of refused keys each pause"
    assert max(tried.values()) <= 3


def test_another_namespace_is_served_meanwhile_at_once(queue: WorkQueue[Key], clock: Clock) -> None:
    put(queue, "refused", 100)
    while fail(queue):
        clock.now += 0.01
    put(queue, "quiet", 2)
    assert [work(queue), work(queue), work(queue)] == [("quiet", 0), ("quiet", 1), None]


def test_one_key_that_is_refused_does_not_hold_up_the_others_of_its_namespace(
    queue: WorkQueue[Key], clock: Clock
) -> None:
    queue.add(("a", 0))
    assert fail(queue) == ("a", 0)
    put(queue, "a", 10, first=1)
    clock.now += 1
    done = [work(queue) for _ in range(10)]
    assert set(done) == {("a", number) for number in range(1, 11)} or ("a", 0) in done
    assert len(set(done)) == 10


def test_new_keys_are_not_held_up_by_refused_ones_however_often_those_fail(queue: WorkQueue[Key], clock: Clock) -> None:
    put(queue, "a", 1)
    for _ in range(20):
        fail(queue)
        clock.now += CAP
    queue.add(("a", 7))
    taken = {queue.get(0), queue.get(0)}
    assert ("a", 7) in taken


def test_once_a_write_succeeds_the_whole_namespace_goes_on(queue: WorkQueue[Key], clock: Clock) -> None:
    put(queue, "a", 50)
    for _ in range(200):
        fail(queue)
        clock.now += 1
    clock.now += CAP
    done = set[Key | None]()
    for _ in range(60):
        done.add(work(queue))
    assert {("a", number) for number in range(50)} <= done


def test_keys_of_a_refused_namespace_are_counted_separately(queue: WorkQueue[Key], clock: Clock) -> None:
    put(queue, "a", 30)
    put(queue, "b", 2)
    assert (len(queue), queue.refused()) == (32, {})
    for _ in range(3):
        key = queue.get(0)
        if key and key[0] == "a":
            queue.refuse(key)
        elif key:
            queue.forget(key)
        if key:
            queue.done(key)
    assert queue.refused() == {"a": 30}
    assert len(queue) == 0, "no worker could work on any of them"
    clock.now += 100
    assert queue.oldest() <= 100
    assert len(queue) == 2, "one new key and one refused key are to be tried"


def test_a_refused_key_that_changes_is_tried_as_a_new_one(queue: WorkQueue[Key], clock: Clock) -> None:
    put(queue, "a", 1)
    for _ in range(10):
        fail(queue)
        clock.now += CAP
    fail(queue)
    queue.add(("a", 0))
    assert queue.get(0) == ("a", 0)


def test_a_refused_key_is_counted_while_it_is_tried_again(queue: WorkQueue[Key], clock: Clock) -> None:
    put(queue, "a", 1)
    fail(queue)
    clock.now += CAP
    assert queue.get(0) == ("a", 0)
    assert queue.refused() == {"a": 1}, "a scrape at this moment would miss it"
    queue.forget(("a", 0))
    queue.done(("a", 0))
    assert queue.refused() == {}


def test_refuse_returns_true_for_the_first_refusal_only(queue: WorkQueue[Key], clock: Clock) -> None:
    put(queue, "a", 5)
    told = []
    for _ in range(10):
        key = queue.get(0)
        if key:
            told.append(queue.refuse(key))
            queue.done(key)
        clock.now += CAP
    assert told[0]
    assert not any(told[1:])


def test_workers_that_fail_at_the_same_time_lengthen_the_pause_once(queue: WorkQueue[Key], clock: Clock) -> None:
    put(queue, "a", 9)
    first, second = queue.get(0), queue.get(0)
    assert first
    assert second
    for key in (first, second):
        queue.refuse(key)
        queue.done(key)
    clock.now += 1
    assert queue.get(0) is not None


def test_nothing_is_kept_of_namespaces_without_keys(queue: WorkQueue[Key], clock: Clock) -> None:
    for number in range(100):
        put(queue, f"ns-{number}", 1)
        fail(queue)
    clock.now += CAP
    while work(queue):
        pass
    assert not queue._lanes._troubled
    assert not queue._lanes._groups


class FairMachine(RuleBasedStateMachine):
    """Whatever is added and refused, no key is lost or held twice, and only a group that is alone gets two workers."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue: WorkQueue[Key] = WorkQueue(
            group=lambda key: key[0], common=2, base=1, cap=CAP, longest_pause=CAP, clock=self.clock
        )
        self.wanted = set[Key]()
        self.held = list[Key]()
        self.taken = dict[str, float]()
        """When each group took a key last."""

    @rule(key=KEYS, changed=st.booleans())
    def add(self, key: Key, changed: bool) -> None:
        self.queue.add(key, changed=changed)
        self.wanted.add(key)

    @rule()
    def get(self) -> None:
        key = self.queue.get(0)
        if key is not None:
            assert key in self.wanted
            assert key not in self.held
            self.wanted.discard(key)
            assert self._may(key[0])
            self.held.append(key)
            self.taken[key[0]] = self.clock.now

    @rule(seconds=st.integers(0, 9))
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def succeed(self) -> None:
        if self.held:
            key = self.held.pop()
            self.queue.forget(key)
            self.queue.done(key)

    @rule()
    def be_refused(self) -> None:
        if self.held:
            key = self.held.pop()
            self.queue.refuse(key)
            self.queue.done(key)
            self.wanted.add(key)

    @invariant()
    def what_is_counted_is_what_can_be_taken(self) -> None:
        lanes = [lane for pair in self.queue._lanes._groups.values() for lane in pair]
        assert {key for lane in lanes for key in lane.waiting} | self.queue._again.keys() == self.wanted
        free = sum(len(lane.waiting) for lane in lanes if not lane.failures)
        assert len(self.queue) == free + sum(
            lane.until <= self.clock.now and not lane.held and bool(lane.waiting) and self._may(lane.group)
            for lane in lanes
            if lane.failures
        )
        tried = sum(lane.held for lane in lanes if lane.failures)
        assert sum(self.queue.refused().values()) == len(self.wanted - self.queue._again.keys()) - free + tried

    def _may(self, group: object) -> bool:
        others = max((when for other, when in self.taken.items() if other != group), default=-math.inf)
        alone = self.clock.now - others > ALONE_SECONDS
        own = sum(key[0] == group for key in self.held)
        return not own or (alone and own == len(self.held) < 2)

    def teardown(self) -> None:
        while self.held:
            self.succeed()
        for _ in range(100):
            while (key := self.queue.get(0)) is not None:
                self.wanted.discard(key)
                self.queue.forget(key)
                self.queue.done(key)
            self.clock.now += CAP
        assert not self.wanted


TestFairMachine = FairMachine.TestCase
