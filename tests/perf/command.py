"""The product's command as a whole process: how long it takes, and how much memory."""

import subprocess
import sys
import time
from dataclasses import dataclass

PROGRAM = """
import os, sys
from app.cli import main
from tests.perf.machine import peak_memory
try:
    main()
finally:
    print(peak_memory(os.getpid()), file=sys.stderr)
"""
"""The command, and what it took at most: the kernel does not say that of a process that has ended."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took, its start included."""

    seconds: float
    mebibytes: float


def measure(*arguments: str) -> Taken:
    """Run `serviceentry-guard` to its end, which must be exit code 1: something would be changed."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    assert done.returncode == 1, done.stderr
    return Taken(seconds, float(done.stderr))
