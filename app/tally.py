"""How many ServiceEntries have which finding, as they are stored and as the policy in force sees them."""

import threading
from collections.abc import Callable

from prometheus_client import Gauge

from app.core.resources import Key, ServiceEntry

Codes = tuple[str, ...]


class Tally:
    """Keeps a gauge labelled namespace and code in step with the entries; safe for use from several threads.

    `judge` returns the codes of an entry's findings, each once.
    """

    def __init__(self, gauge: Gauge, judge: Callable[[ServiceEntry], Codes]) -> None:
        self._gauge = gauge
        self._judge = judge
        self._lock = threading.Lock()
        self._judged: dict[Key, tuple[ServiceEntry, Codes]] = {}

    def put(self, key: Key, entry: ServiceEntry | None) -> None:
        """Take an entry as it is now, None if it is gone."""
        with self._lock:
            self._put(key, entry)

    def recount(self) -> None:
        """Judge every entry anew, one at a time, so that nobody waits for all of them."""
        with self._lock:
            keys = list(self._judged)
        for key in keys:
            with self._lock:
                self._put(key, self._judged.get(key, _GONE)[0])

    def _put(self, key: Key, entry: ServiceEntry | None) -> None:
        _, before = self._judged.pop(key, _GONE)
        after = self._judge(entry) if entry else ()
        if entry:
            self._judged[key] = (entry, after)
        for codes, difference in ((before, -1), (after, 1)):
            for code in codes:
                self._gauge.labels(key.namespace, code).inc(difference)


_GONE: tuple[None, Codes] = (None, ())
