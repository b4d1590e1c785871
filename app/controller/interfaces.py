"""The interfaces of the parts of a controller."""

from typing import Protocol

from app.core.resources.service_entry import Key, ServiceEntry


class Runnable(Protocol):
    """Works in threads of its own."""

    def start(self) -> None:
        """Start. A leader's work starts when this replica becomes the leader."""
        ...

    def stop(self, seconds: float) -> None:
        """Stop; waits up to `seconds` for work in progress."""
        ...


class LeaderAware(Protocol):
    """Acts when this replica becomes the leader."""

    def open(self) -> None:
        """Note that this replica is the leader from now on, after another one."""
        ...


class EntryHandler(Protocol):
    """Keeps something for each ServiceEntry."""

    def put(self, key: Key, entry: ServiceEntry | None) -> None:
        """Process an entry as it is stored now, None if it was deleted; returns immediately."""
        ...

    def reconsider(self) -> None:
        """Review all entries again, because the policy has changed."""
        ...
