"""Stalls: this process, and so the machine, did not keep up. A failure during a stall says nothing about the mesh."""

import threading
import time
from types import TracebackType
from typing import Self

LOOK_SECONDS = 0.05
STALL_SECONDS = 0.5
"""Far above the delays of a busy machine that keeps up, and far below the time-out of one try, which is 2 s or more."""


class Stalls:
    """Looks at the clock 20 times a second; the servers and the clients of a trial are threads of the same process."""

    def __init__(self) -> None:
        self._looked = time.monotonic()
        self._stalled = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stalls")

    def since(self, begun: float) -> bool:
        """Whether there was a stall between this moment of the monotonic clock and now."""
        return self._stalled >= begun or self._late(time.monotonic())

    def __enter__(self) -> Self:
        """Begin to look."""
        self._looked = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            now = time.monotonic()
            if self._late(now):
                self._stalled = now
            self._looked = now

    def _late(self, now: float) -> bool:
        return now - self._looked > STALL_SECONDS
