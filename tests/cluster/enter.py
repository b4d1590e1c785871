"""Becomes a process of a cluster: `enter.py INIT NODE GROUPS PROGRAM [ARGUMENT…]`.

Run as a script. A new PID namespace counts for children only, so this process stays outside, passes signals on and ends
as the program does. The kernel ends the program when this process ends, and this one when its parent does.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """`enter.py INIT NODE GROUPS PROGRAM…`: PIDs whose namespaces are entered, and control groups by colons."""
    init, node, groups, *command = sys.argv[1:]
    for group in groups.split(":"):
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
    descriptors = [
        os.open(f"/proc/{owner}/ns/{kind}", os.O_RDONLY)
        for owner, kinds in ((init, ("cgroup", "ipc", "uts", "pid")), (node, ("net", "mnt")))
        for kind in kinds
    ]
    for descriptor in descriptors:
        if LIBC.setns(descriptor, 0):
            raise OSError(ctypes.get_errno(), "setns failed")
        os.close(descriptor)
    sys.exit(_follow(command))


def _follow(command: list[str]) -> int:
    child = os.fork()
    if not child:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir("/")
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: os.kill(child, received))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256


if __name__ == "__main__":
    main()
