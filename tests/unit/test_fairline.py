"""Queues that take turns: nothing is lost, and nobody waits for more than one item of another group."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.fairline import FairLine

groups = st.sampled_from("abc")


def taken(line: FairLine[str]) -> list[str]:
    return [thing for _ in range(len(line)) if (thing := line.take())]


def test_groups_take_turns() -> None:
    line = FairLine[str](9)
    for thing in ("a1", "a2", "a3", "b1", "c1", "b2"):
        line.put(thing[0], thing)
    assert taken(line) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert line.take() is None


def test_a_group_that_had_the_last_turn_waits_for_the_others() -> None:
    line = FairLine[str](9)
    line.served("a")
    for thing in ("a1", "a2", "b1"):
        line.put(thing[0], thing)
    assert taken(line) == ["b1", "a1", "a2"]


def test_without_room_the_longest_queue_loses_its_newest_item() -> None:
    line = FairLine[str](3)
    assert [line.put("a", thing) for thing in ("a1", "a2", "a3")] == [None] * 3
    assert line.put("b", "b1") == "a3"
    assert line.put("c", "c1") == "a2"
    assert taken(line) == ["a1", "b1", "c1"]


def test_where_each_group_has_one_item_a_new_one_is_lost() -> None:
    line = FairLine[str](2)
    assert [line.put(group, group) for group in "abc"] == [None, None, "c"]
    assert line.put("a", "a2") == "a2"
    assert taken(line) == ["a", "b"]


def test_without_any_room_each_item_is_lost() -> None:
    assert FairLine[str](0).put("a", "a1") == "a1"


@given(steps=st.lists(st.one_of(groups, st.none(), st.integers(0, 4))))
def test_what_goes_in_comes_out_once_or_is_returned(steps: list[str | int | None]) -> None:
    line, came, went = FairLine[str](3), Counter[str](), Counter[str]()
    for number, step in enumerate(steps):
        if isinstance(step, int):
            line.room = step
            continue
        thing = line.take() if step is None else line.put(step, f"{step}{number}")
        came.update([f"{step}{number}"] if step else [])
        went.update([thing] if thing else [])
    went.update(taken(line))
    assert (went, len(line)) == (came, 0)
