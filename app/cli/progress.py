"""Progress of a long command: one line on the terminal, after the first second.

The line goes to standard error, and only if that is a terminal: a log or a pipe never has it. A thread shows it, so
that it is there during a call that does not return. It goes before anything else is written, and when the work is done.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.core.resources.service_entry import MANAGER

WAIT = 1.0
"""Seconds before the line is shown for the first time."""
INTERVAL = 0.5
ERASE = "\r\x1b[K"


class Progress:
    """The line of one process; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._step = ""
        self._shown = False
        self._ended = threading.Event()

    @contextmanager
    def during(self, step: str) -> Iterator[None]:
        """Show the line while the block runs, beginning with this step."""
        self._step = step
        if not _on_terminal():
            yield
            return
        self._ended = threading.Event()
        thread = threading.Thread(target=self._show, args=(self._ended, time.monotonic()), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.end()
            thread.join()

    def step(self, step: str) -> None:
        """Show a new step."""
        self._step = step

    def clear(self) -> None:
        """Erase the line, so that something else can be written."""
        with self._lock:
            if self._shown:
                self._shown = False
                _write(ERASE)

    def end(self) -> None:
        """Erase the line, and show it no more."""
        self._ended.set()
        self.clear()

    def _show(self, ended: threading.Event, start: float) -> None:
        wait = WAIT
        while not ended.wait(wait):
            wait = INTERVAL
            with self._lock:
                if not ended.is_set():
                    self._shown = True
                    _write(ERASE + _line(self._step, time.monotonic() - start))


progress = Progress()


def _on_terminal() -> bool:
    return bool(sys.stderr) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _line(step: str, seconds: float) -> str:
    """Return the line, no wider than the terminal: the rest of a longer one could not be erased."""
    width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    whole = f"{MANAGER}: {step} ({seconds:.0f} s)"
    return whole if len(whole) < width else f"{whole[: max(width - 4, 0)]}..."


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:  # the terminal is gone; the exit code still tells how the command ended
        pass
