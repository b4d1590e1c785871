"""How long it takes from a change to the write that follows from it."""

import time
from collections.abc import Callable, Iterable

from prometheus_client import Histogram

from app.core.resources.service_entry import Key


class Latency:
    """Since when keys wait for their objects; safe for use from several threads.

    While another replica leads, only the last change of a key is kept: it has handled those before. So what changes
    while nobody leads is counted from its change, with the time that the change of leaders takes.
    """

    def __init__(
        self, histogram: Histogram, leading: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._histogram = histogram
        self._leading = leading
        self._clock = clock
        self._since: dict[Key, float] = {}

    def changed(self, keys: Iterable[Key]) -> None:
        """Note that entries changed what these keys should be."""
        now, leading = self._clock(), self._leading()
        for key in keys:
            if leading:
                self._since.setdefault(key, now)
            else:
                self._since[key] = now

    def take(self, key: Key) -> float | None:
        """Return since when the key waits, at the start of its reconciliation: what changes later counts anew."""
        return self._since.pop(key, None)

    def put_back(self, key: Key, since: float | None) -> None:
        """Let the key wait on: its reconciliation failed."""
        if since is not None:
            self._since[key] = since

    def written(self, since: float | None) -> None:
        """Count a key for which something was written."""
        if since is not None:
            self._histogram.observe(self._clock() - since)
