"""What the parts of a controller have in common, as far as others call it."""

from typing import Protocol

from app.core.resources.service_entry import Key, ServiceEntry


class Runnable(Protocol):
    """Works in threads of its own."""

    def start(self) -> None:
        """Begin; what only a leader does begins once this replica leads."""
        ...

    def stop(self, seconds: float) -> None:
        """Begin nothing more; waits up to `seconds` for what is under way."""
        ...


class LeaderAware(Protocol):
    """Has something to do when this replica begins to lead."""

    def open(self) -> None:
        """Note that this replica leads from now on, and that another one did until now."""
        ...


class EntryHandler(Protocol):
    """Keeps something for each ServiceEntry."""

    def put(self, key: Key, entry: ServiceEntry | None) -> None:
        """Take an entry as it is stored now, None if it is gone; returns at once."""
        ...

    def reconsider(self) -> None:
        """Look at all entries again: another policy is in force."""
        ...
