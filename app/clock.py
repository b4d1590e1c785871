"""The current day: the core gets it as an argument, and its callers read it here."""

from datetime import UTC, datetime


def utc_day() -> str:
    """Return the current day (UTC), such as 2027-03-31."""
    return datetime.now(UTC).date().isoformat()
