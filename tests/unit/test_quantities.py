"""Numbers in sentences."""

import pytest

from app.core.resources.quantities import count, rate, share, shares


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0"), (7, "7"), (999.6, "1,000"), (48_213, "48,200"), (1e7, "10,000,000")]
)
def test_a_count_has_three_digits(number: float, told: str) -> None:
    assert count(number) == told


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (0, "0 %"),
        (31, "3.1 %"),
        (124, "12 %"),
        (0.05, "less than 0.01 %"),
        (999.999, "99.99 %"),
        (995, "99.5 %"),
        (1000, "100 %"),
    ],
)
def test_a_share_has_two_digits_and_is_never_all_but_a_few(part: float, told: str) -> None:
    assert share(part, 1000) == told


def test_a_share_of_nothing_is_zero() -> None:
    assert share(3, 0) == "0 %"


def test_a_share_that_is_not_known_exactly_is_a_range() -> None:
    assert shares(31, 124, 1000) == "3.1 % to 12 %"
    assert shares(31, 31, 1000) == "3.1 %"


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0"), (0.0004, "less than 0.001"), (0.0797, "0.08"), (12.34, "12"), (4821, "4,820")]
)
def test_a_rate_has_two_digits(number: float, told: str) -> None:
    assert rate(number) == told
