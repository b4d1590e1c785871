"""How a build that takes minutes is shown: one line that changes on a terminal, a line now and then in a log."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 20.0
CLEAR_LINE = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where progress is written to."""

    out: TextIO

    def say(self, sentence: str) -> None:
        """A line that stays."""
        print(f"test bed: {sentence}", file=self.out, flush=True)

    def follow(self, process: subprocess.Popen[bytes], state: Callable[[], str]) -> None:
        """Show `state` and the time it has taken until `process` ends."""
        begun = time.monotonic()
        while process.returncode is None:
            try:
                process.wait(TERMINAL_SECONDS if self.out.isatty() else LOG_SECONDS)
            except subprocess.TimeoutExpired:
                self._update(f"{state()}, {_clock(time.monotonic() - begun)}")
        self._finish(f"{state()}, done in {_clock(time.monotonic() - begun)}")

    def _update(self, sentence: str) -> None:
        if self.out.isatty():
            print(f"{CLEAR_LINE}test bed: {sentence}", end="", file=self.out, flush=True)
        else:
            self.say(sentence)

    def _finish(self, sentence: str) -> None:
        self._update(sentence)
        if self.out.isatty():
            print(file=self.out, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
