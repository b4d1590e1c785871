"""The emission latency: the time from a change to the write that follows from it."""

import time
from collections.abc import Callable, Iterable

from prometheus_client import Histogram

from app.core.resources.service_entry import Key


class Latency:
    """The times at which keys began to wait for their objects; safe for threads.

    While another replica leads, only the last change of a key is kept, because that replica has handled earlier
    changes. So the latency of a change without a leader includes the change of leaders.
    """

    def __init__(
        self, histogram: Histogram, leading: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._histogram = histogram
        self._leading = leading
        self._clock = clock
        self._since: dict[Key, float] = {}

    def changed(self, keys: Iterable[Key]) -> None:
        """Note that a change of entries affects these keys."""
        now, leading = self._clock(), self._leading()
        for key in keys:
            if leading:
                self._since.setdefault(key, now)
            else:
                self._since[key] = now

    def take(self, key: Key) -> float | None:
        """Return the time at which the key began to wait.

        Called at the start of a reconciliation; later changes count again.
        """
        return self._since.pop(key, None)

    def put_back(self, key: Key, since: float | None) -> None:
        """Keep the key waiting, because its reconciliation failed."""
        if since is not None:
            self._since[key] = since

    def written(self, since: float | None) -> None:
        """Record the latency of a key with a write."""
        if since is not None:
            self._histogram.observe(self._clock() - since)
