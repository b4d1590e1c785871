"""Days in UTC as text, such as 2027-03-31. Texts of this shape compare as the days do, here and in CEL."""

import re
from dataclasses import dataclass, field
from datetime import date, timedelta

_LEAP = (
    "(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29"  # every fourth year, 2000 too
)
DAY = (
    "(?:[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|"
    "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|"
    f"{_LEAP})"
)
"""Regular expression of a calendar day, from the year 1000 on."""
LENGTH = len("2027-03-31")
SECONDS = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_MOST = date(9999, 12, 31)
NUMBER_OF_DAYS = "[1-9][0-9]{0,3}d"


@dataclass(frozen=True, slots=True, order=True)
class Days:
    """A number of days, with the text it was written as."""

    days: int
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text


def is_day(text: str) -> bool:
    """Say whether a text is a day of the calendar."""
    return re.fullmatch(DAY, text) is not None


def days_between(first: str, last: str) -> int:
    """Return the days from one day to another; negative where the second is before the first."""
    return (date.fromisoformat(last) - date.fromisoformat(first)).days


def end_of(day: str) -> int:
    """Return the moment at which a day ends, in seconds since the epoch."""
    return (date.fromisoformat(day).toordinal() + 1 - _EPOCH) * SECONDS


def later(day: str, days: int) -> str:
    """Return the day that is so many days later."""
    begin = date.fromisoformat(day)
    return (begin + min(timedelta(days), _MOST - begin)).isoformat()


def parse_day(text: object) -> str:
    """Parse a day; a ValueError has the format."""
    if not isinstance(text, str) or not is_day(text):
        raise ValueError("must be a day such as 2027-03-31")
    return text


def parse_days(text: object) -> Days:
    """Parse a number of days; a ValueError has the format."""
    if not isinstance(text, str) or not re.fullmatch(NUMBER_OF_DAYS, text):
        raise ValueError("must be a number of days such as 90d")
    return Days(int(text.removesuffix("d")), text)
