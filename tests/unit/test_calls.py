"""Figures of calls: how they ended, and how long they took."""

import math

import pytest

from app.core.insight.calls import Durations, Ending, Traffic, Window, ending, together

HISTOGRAM = Durations((1000.0, 2500.0, math.inf), (900.0, 980.0, 1000.0))


@pytest.mark.parametrize(
    ("flags", "how"),
    [
        ("UC", Ending.TERMINATED),
        ("URX,UF", Ending.UNREACHED),
        ("UT", Ending.TIMED_OUT),
        ("DC", Ending.LEFT),
        ("NR", None),
        ("", None),
    ],
)
def test_of_several_flags_the_one_about_the_connection_counts(flags: str, how: Ending | None) -> None:
    assert ending(flags) is how


@pytest.mark.parametrize(("text", "seconds", "words"), [("7d", 604_800, "7 days"), ("1h", 3600, "1 hour")])
def test_a_window_has_its_seconds_and_its_words(text: str, seconds: int, words: str) -> None:
    assert (Window(text).seconds, Window(text).words) == (seconds, words)


@pytest.mark.parametrize(
    ("milliseconds", "longer"),
    [
        (1000, (100, 100)),
        (2000, (20, 100)),
        (2500, (20, 20)),
        (500, (100, 1000)),
        (60_000, (0, 20)),
    ],
)
def test_between_two_bounds_the_longer_calls_are_a_range(milliseconds: float, longer: tuple[float, float]) -> None:
    assert HISTOGRAM.longer(milliseconds) == longer


def test_beyond_the_last_bound_nothing_is_longer_than_all() -> None:
    assert Durations((1000.0,), (900.0,)).longer(5000) == (0, 0)


def test_a_bound_that_keeps_calls_has_an_end() -> None:
    assert HISTOGRAM.keeping(0.9) == 1000
    assert HISTOGRAM.keeping(0.95) == 2500
    assert HISTOGRAM.keeping(0.999) is None


def test_a_histogram_without_calls_says_nothing() -> None:
    assert Durations((), ()).longer(2000) == (0, 0)
    assert Durations((), ()).calls == 0


def test_only_hosts_that_were_asked_for_are_held() -> None:
    traffic = Traffic(Window("7d"), {"api.example.com"})
    assert traffic.at("other.example.com", "team") is None
    held = traffic.at("API.example.com.", "team")
    assert held is traffic.at("api.example.com", "team")
    assert traffic.callers("other.example.com") == {}


def test_bounds_that_become_known_late_and_counts_that_fall_are_put_in_order() -> None:
    traffic = Traffic(Window("7d"), {"api.example.com"})
    one, other = traffic.at("api.example.com", "a"), traffic.at("api.example.com", "b")
    assert one
    assert other
    one.put(traffic.bound(math.inf), 10)
    other.put(traffic.bound(1000.0), 4)
    other.put(traffic.bound(math.inf), 3)
    one.endings[Ending.LEFT] = other.endings[Ending.LEFT] = 1
    both = together([one, other])
    assert both.failed == 2
    assert traffic.durations(both) == Durations((1000.0, math.inf), (4, 13))
    assert traffic.durations(other) == Durations((1000.0, math.inf), (4, 4))
    assert traffic.durations(one) == Durations((math.inf,), (10,))
