"""Patterns for reasons: they mean what RE2 makes of them, take linear time, and are refused outside of the subset."""

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.resources.patterns import parse_pattern

TEXT = st.text("ab-1 \n_A.\u00e9", max_size=12)
ATOMS = st.sampled_from(
    ["a", "b", "1", ".", r"\.", r"\d", r"\w", r"\s", "[a-z]", "[^a]", "[ab1-9]", r"[\d_-]", "[-a]", "\u00e9"]
)
ANCHORS = st.sampled_from(["^", "$"])
REPEATS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "{0}"])


def joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        st.tuples(inner, REPEATS).map(lambda pair: f"({pair[0]}){pair[1]}"),
        st.tuples(inner, REPEATS).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    )


PATTERNS = st.recursive(st.tuples(ATOMS, REPEATS).map("".join) | ANCHORS, joined, max_leaves=6)


@given(PATTERNS, TEXT)
def test_a_pattern_is_found_where_a_backtracking_engine_finds_it(pattern: str, text: str) -> None:
    expected = re.search(pattern.replace("$", r"\Z"), text, re.ASCII) is not None
    assert parse_pattern(pattern).found_in(text) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("[A-Z]+-[0-9]+", "OPS-1234: the vendor pins its addresses", True),
        ("[A-Z]+-[0-9]+", "the vendor pins its addresses", False),
        ("^[A-Z]+-[0-9]+$", "OPS-1", True),
        ("^[A-Z]+-[0-9]+$", "OPS-1\n", False),
        ("^(?:OPS|NET)-[0-9]{2,4}(: .+)?$", "NET-12: moves", True),
        ("^(?:OPS|NET)-[0-9]{2,4}(: .+)?$", "NET-12345", False),
        (r"\(x\)", "(x)", True),
        (r"[\]\-]", "a-b", True),
        ("[a-z-9]", "-", True),
        ("a|", "", True),
        ("()", "", True),
    ],
)
def test_examples(pattern: str, text: str, found: bool) -> None:
    assert parse_pattern(pattern).found_in(text) is found
    assert str(parse_pattern(pattern)) == pattern


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "must be a pattern such as"),
        (None, "must be a pattern such as"),
        ("a\n", "must not contain control characters"),
        ("a" * 201, "must have at most 200 characters"),
        ("(a", "character 2 does not close its group"),
        ("a)", "character 1 closes a group that is not open"),
        ("[a", "ends too early"),
        ("[]", "character 2 ends an empty class"),
        ("[z-a]", "character 4 ends an invalid range"),
        (r"[a-\d]", "character 5 ends an invalid range"),
        ("[[:alpha:]]", "character 2 must be escaped with a backslash here"),
        ("a**", "character 2 repeats a repetition"),
        ("a+?", "character 2 repeats a repetition"),
        ("*a", "character 1 must be escaped with a backslash here"),
        ("a{", "character 2 must be a number of at most 100"),
        ("a{101}", "character 5 must be a number of at most 100"),
        ("a{3,2}", "character 6 does not end a repetition"),
        ("a{2;3}", "character 3 does not end a repetition"),
        ("}", "character 1 must be escaped"),
        ("(?i)a", "character 2 begins a group that is not supported"),
        ("(?=a)", "character 2 begins a group that is not supported"),
        (r"(a)\1", "character 5 is not supported after a backslash"),
        (r"\bx", "character 2 is not supported after a backslash"),
        ("\\", "ends too early"),
        ("((a{100}){100}){100}", "is too long with expanded repetitions"),
        ("(((){100}){100}){100}", "is too long with expanded repetitions"),
        ("(" * 21 + ")" * 21, "character 21 opens more than 20 groups within each other"),
    ],
)
def test_syntax_outside_of_the_subset_is_rejected_with_its_position(pattern: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|a)*b", "(?:.*.*.*)*b", "(a?){100}a{100}b"])
def test_no_pattern_makes_a_match_slow(pattern: str) -> None:
    began = time.process_time()
    assert not parse_pattern(pattern).found_in("a" * 500)
    assert time.process_time() - began < 2.0
