"""Objects that another client changes again and again: the first repairs are immediate, the next ones ever later."""

from itertools import pairwise

import pytest

from app.controller import contention
from app.controller.contention import IMMEDIATE, KNOWN, LONGEST_DELAY, QUIET_SECONDS, Contention, Contested


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(contention, "backoff", lambda failures, base, cap: min(base * 2 ** (failures - 1), cap))
    return Clock()


def fought(found: Contention[str], clock: Clock, seconds: float) -> list[float]:
    """Have another client undo each write at once, and return the moments of the writes."""
    moments, end = [], clock.now + seconds
    while clock.now < end:
        try:
            found.check("api", "situation")
        except Contested as contested:
            clock.now += contested.seconds
            continue
        found.written("api", "situation")
        moments.append(clock.now)
    return moments


def test_repairs_of_a_contested_object_come_with_increasing_delay(clock: Clock) -> None:
    moments = fought(Contention(clock), clock, 600)
    delays = [after - before for before, after in pairwise(moments)]
    assert delays[:IMMEDIATE] == [0.0] * IMMEDIATE
    assert delays[IMMEDIATE : IMMEDIATE + 4] == [1, 2, 4, 8]
    assert max(delays) == LONGEST_DELAY
    assert len(moments) < 20


def test_a_delay_is_announced_once(clock: Clock) -> None:
    found = Contention[str](clock)
    for _ in range(IMMEDIATE + 1):
        found.written("api", "situation")
    announced = []
    for _ in range(3):
        with pytest.raises(Contested) as raised:
            found.check("api", "situation")
        announced.append(raised.value.first)
    assert announced == [True, False, False]


def test_another_situation_is_written_at_once_and_starts_the_count_again(clock: Clock) -> None:
    found = Contention[str](clock)
    fought(found, clock, 30)
    found.check("api", "another situation")
    found.written("api", "another situation")
    found.check("api", "another situation")


def test_an_object_that_is_left_alone_for_long_is_repaired_at_once(clock: Clock) -> None:
    found = Contention[str](clock)
    fought(found, clock, 30)
    clock.now += QUIET_SECONDS
    found.check("api", "situation")
    found.written("api", "situation")
    found.check("api", "situation")


def test_only_the_keys_that_were_written_last_are_remembered(clock: Clock) -> None:
    found = Contention[str](clock)
    for number in range(2 * KNOWN):
        found.written(f"key-{number}", "situation")
    assert len(found._last) == KNOWN
