"""Requests of the mesh tests that a stall of the machine delayed are told from all others."""

import os
import signal
import subprocess
import sys
import time

from tests.mesh.stalls import STALL_SECONDS, Stalls

SECONDS = 2 * STALL_SECONDS
WATCHED = """
import time
from tests.mesh.stalls import Stalls

with Stalls() as stalls:
    begun = time.monotonic()
    print(flush=True)
    input()
    print(stalls.since(begun))
    while stalls.since(time.monotonic()):
        pass
"""


def test_a_process_that_keeps_up_has_no_stall() -> None:
    with Stalls() as stalls:
        assert not stalls.since(time.monotonic())


def test_a_process_that_was_stopped_has_one_until_it_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", WATCHED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(SECONDS)
        os.kill(child.pid, signal.SIGCONT)
        said, _ = child.communicate(b"\n", timeout=60)
    assert said == b"True\n"
