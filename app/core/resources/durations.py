"""Durations in Istio's format ("2s", "500ms", "1m30s"): hours to milliseconds, in that order, in whole milliseconds.

This is the part of Go's time.ParseDuration that people write. Istio rejects a fraction of a millisecond.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated

from app.core.policy.fields import Parsed
from app.core.rules import templates

_UNITS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_FRACTION = r"(?:\.[0-9]{1,3})?"
_NONZERO = r"(?=.*[1-9])"
SHAPE = (
    rf"(?:([0-9]{{1,6}}{_FRACTION})h)?(?:([0-9]{{1,6}}{_FRACTION})m)?"
    rf"(?:([0-9]{{1,6}}{_FRACTION})s)?(?:([0-9]{{1,9}})ms)?"
)
"""The format of a duration, including 0."""
_PATTERN = _NONZERO + SHAPE
_SECONDS = rf"{_NONZERO}(?:[0-9]{{1,6}}h)?(?:[0-9]{{1,6}}m)?(?:[0-9]{{1,6}}s)?"


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
    matched = re.fullmatch(_PATTERN, text) if isinstance(text, str) else None
    if not matched:
        raise ValueError(templates.NO_DURATION)
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
        raise ValueError(templates.NO_TIMEOUT) from None


def _parse_seconds(text: object) -> Duration:
    duration = parse_duration(text)
    if not re.fullmatch(_SECONDS, duration.text):
        raise ValueError('must be a duration of whole seconds such as "60s" or "1m30s"')
    return duration


DurationField = Annotated[Duration, Parsed(parse_duration, "duration", _PATTERN)]
"""A duration as a field of a policy."""
TimeoutField = Annotated[Duration, Parsed(parse_timeout, "duration, or 0s for none", rf"(?:0s|{_PATTERN})")]
"""A timeout as a field of a policy: 0s means none."""
SecondsField = Annotated[Duration, Parsed(_parse_seconds, "duration of whole seconds", _SECONDS)]
"""A duration of whole seconds, because Istio rounds TCP keepalive to seconds."""
