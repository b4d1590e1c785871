"""A cluster that is killed leaves nothing. It comes first: later this process is in the network of another cluster."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.bed.processes import wait_until
from tests.cluster.release import SECONDS
from tests.cluster.traces import Traces, namespaces_of, processes_of
from tests.image.build import ROOT

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "uts")


def test_sigkill_of_the_run_leaves_no_process_and_no_namespace(before: Traces) -> None:
    """By SIGKILL: no code of ours runs in the process that started it."""
    command = [sys.executable, "-m", "tests.cluster"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        printed = run.stdout.readline().split()
        folder, init = Path(printed[0]), int(printed[2])
        made = {kind: str(Path(f"/proc/{init}/ns/{kind}").readlink()) for kind in KINDS}
        assert len(processes_of(folder)) > 10
        assert Traces.seen() != before
        os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not folder.exists() and not processes_of(folder), "nothing runs any more", SECONDS)
    assert Traces.seen() == before
    wait_until(lambda: not any(made[kind] in namespaces_of(kind) for kind in KINDS), "no namespace is left", SECONDS)
