"""A chore: something that only the leader does, again and again, in a thread of its own."""

import logging
import threading
from collections.abc import Callable

from app.kube.backoff import backoff
from app.kube.errors import ApiError, Fenced

log = logging.getLogger(__name__)

FIRST_RETRY, LAST_RETRY = 0.5, 5.0
"""Bounds of the back-off after passes that failed, in seconds."""


class Chore:
    """Calls `check` while `leading` is set: one pass, which returns the seconds until the next.

    A pass looks at everything anew, so that one that fails, or never ends, is made up for by the next; `failed` is
    told of it. It may not write but through a fenced client.
    """

    def __init__(
        self,
        name: str,
        check: Callable[[], float],
        leading: threading.Event,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._check = check
        self._leading = leading
        self._failed = failed
        self._failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, once this replica leads."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Begin no more passes; waits up to `seconds` for one that is under way."""
        self._stopping.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._leading.wait(1.0) and not self._stopping.is_set():
                self._stopping.wait(self._pass())

    def _pass(self) -> float:
        try:
            seconds = self._check()
        except Exception as error:
            return self._fail(error)
        self._failures = 0
        return seconds

    def _fail(self, error: Exception) -> float:
        self._failures += 1
        seconds = backoff(self._failures, FIRST_RETRY, LAST_RETRY)
        if isinstance(error, Fenced):
            return seconds
        self._failed()
        if isinstance(error, ApiError):
            log.warning("%s: %s; again in %.1f s", self._name, error, seconds)
        else:
            log.error("a bug in %s; again in %.1f s", self._name, seconds, exc_info=error)
        return seconds
