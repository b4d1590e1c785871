"""The depth limit of a reviewed object, which is looked at closely only in bodies that have many brackets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.policy.model import default_policy
from app.webhook.admission import DEPTH_LIMIT, BadReview, Stage, answer
from tests.contract.clients import REVIEW

TRICKS: list[Any] = [None, {}, [], "{}", '{"}": [', [{}, {}, "[]"], "}" * 100]
"""What may stand beside a nested value, and looks like brackets."""


def nested(levels: int, innermost: Any, lists: int, beside: Any) -> Any:
    """A value inside so many objects, of which every so many is a list; the innermost is not counted."""
    value = innermost
    for level in range(levels):
        value = [beside, value] if lists and level % lists == 0 else {"}{}": beside, "a": value}
    return value


def accepted(value: Any, field: str) -> bool:
    """Whether a review is answered whose object has a value in its spec."""
    given_object = {**REVIEW["request"]["object"], "status": value}
    request = {**REVIEW["request"], "oldObject": None, field: given_object}
    body = json.dumps({**REVIEW, "request": request}, separators=(",", ":")).encode()
    try:
        answer(Stage.MUTATE, body, default_policy())
    except BadReview as bad:
        return bad.reason != f"the object is nested deeper than {DEPTH_LIMIT} levels"
    return True


def depth(value: Any) -> int:
    """The levels of a value; a text or a number has none."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@pytest.mark.parametrize("field", ["object", "oldObject"])
@given(
    levels=st.integers(DEPTH_LIMIT - 5, DEPTH_LIMIT + 1),
    innermost=st.sampled_from([1, {}, []]),
    lists=st.integers(0, 3),
    beside=st.sampled_from(TRICKS),
)
def test_an_object_is_reviewed_up_to_the_depth_limit(
    field: str, levels: int, innermost: Any, lists: int, beside: Any
) -> None:
    value = nested(levels, innermost, lists, beside)
    assert accepted(value, field) is (1 + depth(value) <= DEPTH_LIMIT)


def test_an_object_with_many_brackets_and_few_levels_is_reviewed() -> None:
    assert accepted([{"f:a": {}, "b": [1]} for _ in range(DEPTH_LIMIT * 2)], "object")
