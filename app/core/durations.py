"""Durations as Istio writes them ("2s", "500ms", "1m30s"): the grammar of Go's time.ParseDuration, from 1 ms up."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

_UNITS = {"ms": Decimal(1), "s": Decimal(1000), "m": Decimal(60_000), "h": Decimal(3_600_000)}
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_LONGEST = 40


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time in milliseconds, with the text it was written as."""

    milliseconds: Decimal
    text: str

    def __str__(self) -> str:
        """Return the author's spelling."""
        return self.text


def parse_duration(text: object) -> Duration:
    """Parse a duration; a ValueError says what a duration looks like."""
    if not isinstance(text, str) or len(text) > _LONGEST or not _WHOLE.fullmatch(text):
        raise ValueError('must be a duration such as "2s", "500ms" or "1m30s"')
    total = sum((Decimal(number) * _UNITS[unit] for number, unit in _PART.findall(text)), Decimal(0))
    if total < 1:
        raise ValueError("must be at least 1ms")
    return Duration(total, text)


def _validate(value: object) -> Duration:
    return value if isinstance(value, Duration) else parse_duration(value)


DurationField = Annotated[
    Duration,
    PlainValidator(_validate),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_WHOLE.pattern}$", "examples": ["2s", "500ms"]}),
]
"""A duration as a field of a pydantic model."""
