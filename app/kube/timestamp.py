"""The API's `MicroTime`."""

from datetime import UTC, datetime


def micro_time() -> str:
    """Now, in UTC, as RFC 3339 with microseconds: the only precision that a MicroTime field accepts."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
