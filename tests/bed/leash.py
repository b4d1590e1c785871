"""Becomes the program named by its arguments, which the kernel kills when the process that asked for it ends.

Run as a script: `leash.py PARENT-PID PROGRAM [ARGUMENT…]`. Linux only. A step between fork and exec of its own,
because Python code in `subprocess`'s place for it (preexec_fn) is unsafe beside threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the process that started this one has ended")
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
