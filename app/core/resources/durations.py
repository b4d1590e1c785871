"""Durations in Istio's format ("2s", "500ms", "1m30s"): hours to milliseconds, in that order, in whole milliseconds.

This is the part of Go's time.ParseDuration that people write. Istio rejects a fraction of a millisecond.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal

_UNITS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_FRACTION = r"(?:\.[0-9]{1,3})?"
_NONZERO = r"(?=.*[1-9])"
SHAPE = (
    rf"(?:([0-9]{{1,6}}{_FRACTION})h)?(?:([0-9]{{1,6}}{_FRACTION})m)?"
    rf"(?:([0-9]{{1,6}}{_FRACTION})s)?(?:([0-9]{{1,9}})ms)?"
)
"""The format of a duration, including 0."""
PATTERN = _NONZERO + SHAPE
SECONDS_PATTERN = rf"{_NONZERO}(?:[0-9]{{1,6}}h)?(?:[0-9]{{1,6}}m)?(?:[0-9]{{1,6}}s)?"
NO_DURATION = 'must be a duration such as "2s", "500ms" or "1m30s"'
NO_TIMEOUT = f'{NO_DURATION}, or "0s" for no deadline'


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time in milliseconds, with its text; compared by length only."""

    milliseconds: int
    text: str = field(compare=False)

    def __str__(self) -> str:
        """Return the author's spelling."""
        return self.text


def parse_duration(text: object) -> Duration:
    """Parse a duration of at least 1 ms; a ValueError has the format."""
    matched = re.fullmatch(PATTERN, text) if isinstance(text, str) else None
    if not matched:
        raise ValueError(NO_DURATION)
    parts = zip(_UNITS.values(), matched.groups(default="0"), strict=True)
    return Duration(sum(int(unit * Decimal(number)) for unit, number in parts), matched.string)


NO_DEADLINE = Duration(0, "0s")
"""The text of a timeout that means none."""


def parse_timeout(text: object) -> Duration:
    """Parse a duration, or "0s" for no timeout; a ValueError has the format."""
    if text == NO_DEADLINE.text:
        return NO_DEADLINE
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(NO_TIMEOUT) from None


def parse_seconds(text: object) -> Duration:
    """Parse a duration of whole seconds; Istio keeps nothing smaller of TCP keep-alive."""
    duration = parse_duration(text)
    if not re.fullmatch(SECONDS_PATTERN, duration.text):
        raise ValueError('must be a duration of whole seconds such as "60s" or "1m30s"')
    return duration
