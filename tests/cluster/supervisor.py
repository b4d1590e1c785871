"""Owns the namespaces and control groups of a cluster, and removes all of it when its standard input ends.

Run as a script by tests.cluster.sandbox: `supervisor.py PARENT`. It makes a folder in PARENT for the cluster's files,
and prints the PID of the cluster's first process and that folder. The kernel closes the standard input whatever ends
the process at the other end, SIGKILL too. That ends the first process of the cluster's PID namespace, and the kernel
then ends every other one; mounts and networks go with the last process in them. Control groups and the folder remain,
and are removed here. If this process is killed itself, the next run removes them.
"""

import os
import select
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.cluster import cgroups

INIT = Path(__file__).with_name("init.py")
FOLDER = "run-"
NAMESPACES = ("--cgroup", "--ipc", "--mount", "--net", "--pid", "--uts")


def main() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = Path(sys.argv[1])
    _sweep(parent)
    groups = cgroups.create(os.getpid())
    folder = parent / f"{FOLDER}{os.getpid()}"
    folder.mkdir()
    try:
        _serve(folder, groups)
    finally:
        cgroups.remove(groups)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove what supervisors that were killed have left."""
    cgroups.remove(cgroups.left_behind())
    for folder in parent.glob(f"{FOLDER}*"):
        if not Path("/proc", folder.name.removeprefix(FOLDER)).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _serve(folder: Path, groups: list[Path]) -> None:
    """Start the first process, print its PID, and end it when standard input ends."""
    reader, writer = os.pipe()
    launcher = os.fork()
    if not launcher:
        os.close(reader)
        _launch(folder, groups, writer)
    os.close(writer)
    with os.fdopen(reader) as report:
        print(report.readline().strip(), folder, flush=True)
    select.select([sys.stdin, os.pidfd_open(launcher)], [], [])
    os.kill(launcher, signal.SIGKILL)
    os.waitpid(launcher, 0)


def _launch(folder: Path, groups: list[Path], writer: int) -> None:
    cgroups.join(groups, os.getpid())
    os.set_inheritable(writer, True)
    unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child=KILL", "--propagation=private"]
    init = [sys.executable, "-I", "-S", str(INIT), str(writer), str(folder)]
    os.execvp(unshare[0], [*unshare, *init])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
