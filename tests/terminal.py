"""Commands on a terminal: what it shows, and what is typed."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

DEADLINE = 60.0


class Terminal:
    """A command whose standard streams are a terminal."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._ours, theirs = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.shown = ""

    def until(self, text: str) -> None:
        """Read until the terminal has shown a text."""
        end = time.monotonic() + DEADLINE
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            assert self._more(), self.shown

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Read to the end; returns the exit code."""
        end = time.monotonic() + DEADLINE
        while self._more():
            assert time.monotonic() < end, self.shown
        return self._process.wait(DEADLINE)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def _more(self) -> bool:
        """Read what is there, or wait a moment. False at the end."""
        if not select.select([self._ours], [], [], 0.2)[0]:
            return True
        try:
            piece = os.read(self._ours, 4096)
        except OSError:  # Linux says so where the other end is closed
            return False
        self.shown += piece.decode()
        return bool(piece)


@contextmanager
def on_terminal(*command: str, folder: Path) -> Iterator[Terminal]:
    """Run a command on a terminal."""
    terminal = Terminal(command, folder)
    try:
        yield terminal
    finally:
        terminal.close()
