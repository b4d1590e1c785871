"""Leadership: one object that tells all threads whether this replica leads.

Stopping is a signal of its own. A thread that waits here wakes up when the replica begins to lead, and when it is
stopped, and knows which of the two it was: a replica that stops never begins what only a leader does.
"""

import threading


class Leadership:
    """Begins and ends with the Lease; usable from any number of threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._leads = False
        self.term = 0
        """How often this replica has begun to lead. Between two terms, another replica may have led."""

    def begin(self) -> None:
        """Lead from now on."""
        self.term += 1
        self._set(True)

    def end(self) -> None:
        """Lead no more."""
        self._set(False)

    def leads(self) -> bool:
        """Say whether this replica leads at this moment."""
        return self._leads

    def wait(self, stopping: threading.Event, seconds: float) -> bool:
        """Wait for up to `seconds` until this replica leads; False where it does not, or is `stopping`."""
        with self._changed:
            self._changed.wait_for(lambda: self._leads or stopping.is_set(), seconds)
            return self._leads and not stopping.is_set()

    def stop(self, stopping: threading.Event) -> None:
        """Set a signal to stop, and wake the threads that wait for it here."""
        with self._changed:
            stopping.set()
            self._changed.notify_all()

    def _set(self, leads: bool) -> None:
        with self._changed:
            self._leads = leads
            self._changed.notify_all()
