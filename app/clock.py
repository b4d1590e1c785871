"""The calendar: the core takes the day as an argument, and the shells ask here."""

from datetime import UTC, datetime


def utc_day() -> str:
    """Return the day of today, such as 2027-03-31."""
    return datetime.now(UTC).date().isoformat()
