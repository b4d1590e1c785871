"""A wall clock of one process that a test can step, by a small preloaded library; the monotonic clocks stay."""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


def complaint() -> str | None:
    """Say why this machine cannot build it; None if it can."""
    if sys.platform != "linux":
        return "a clock can be stepped for one process on Linux only"
    return None if shutil.which("cc") else "the clock is stepped by a small library, which needs a C compiler"


@dataclass(frozen=True, slots=True)
class Clock:
    """The offset of a clock, in a file that the library maps."""

    path: Path
    library: Path | None

    @classmethod
    def of(cls, folder: Path, library: Path | None) -> "Clock":
        """A clock that is right."""
        clock = cls(folder / "clock", library)
        clock.path.write_bytes(struct.pack("l", 0))
        return clock

    @property
    def environment(self) -> Mapping[str, str] | None:
        """For the process; None if the library was not built."""
        if self.library is None:
            return None
        return {**os.environ, "LD_PRELOAD": str(self.library), "CHAOS_CLOCK": str(self.path)}

    def step(self, seconds: int) -> None:
        """Have the process see a time that is wrong by some seconds."""
        with self.path.open("r+b") as file:
            file.write(struct.pack("l", seconds))


def build(folder: Path) -> Path | None:
    """Build the library; None if the machine cannot."""
    if complaint():
        return None
    library = folder / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
    return library
