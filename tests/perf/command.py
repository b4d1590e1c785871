"""The product's command as a whole process: how long it takes, and how much memory."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.perf import installation

STOPWATCH = Path(__file__).with_name("stopwatch.py")
CHANGES = 1
"""Exit code of the command where something would be changed."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took, its start included."""

    seconds: float
    mebibytes: float


def measure(*arguments: str) -> Taken:
    """Run `serviceentry-guard`, as a user has it, to its end, which must be that something would be changed."""
    return run(*installation.command(), *arguments, ends_with=CHANGES)


def measure_python(program: str) -> Taken:
    """Run a program in the interpreter that the command runs in, with the same packages."""
    return run(installation.python(), "-c", program, ends_with=0)


def run(*command: str, ends_with: int) -> Taken:
    """Run any program, by its path, to its end; its output is thrown away."""
    watch = [sys.executable, "-I", "-S", str(STOPWATCH), *command]
    done = subprocess.run(watch, capture_output=True, text=True, check=True)
    code, seconds, kibibytes = json.loads(done.stdout)
    assert code == ends_with, done.stderr
    return Taken(seconds, kibibytes / 1024)
