"""Becomes a process of a container: `unshare --mount python enter.py ROOT VOLUME USER GROUP PROGRAM [ARGUMENT…]`.

What a runtime does under `readOnlyRootFilesystem`, `runAsUser` and `allowPrivilegeEscalation: false`, less the network:
a root that nobody can write to, VOLUME at /mnt likewise, /proc, a few devices, no capabilities, and nothing of the
environment but what comes in. The kernel ends the process when the one that started it ends (see tests/bed/leash.py).
"""

import ctypes
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
DEVICES = ("null", "random", "urandom", "zero")


def main() -> None:
    root, volume, user, group, *command = sys.argv[1:]
    parent = os.getppid()
    _mount(Path(root), volume)
    os.chroot(root)
    os.chdir("/")
    _check_read_only()
    os.setgroups([])
    os.setgid(int(group))
    os.setuid(int(user))
    control = ctypes.CDLL(None).prctl
    control(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    control(PR_SET_PDEATHSIG, signal.SIGKILL)  # anew: changing the user has undone it
    if os.getppid() != parent:
        sys.exit("the process that started this one has ended")
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


def _mount(root: Path, volume: str) -> None:
    _run("mount", "--bind", str(root), str(root))
    _run("mount", "--bind", volume, f"{root}/mnt")
    _run("mount", "-t", "proc", "proc", f"{root}/proc")
    _run("mount", "-t", "tmpfs", "tmpfs", f"{root}/dev")
    for device in DEVICES:
        target = root / "dev" / device
        target.touch()
        _run("mount", "--bind", f"/dev/{device}", str(target))
    for folder in (root / "mnt", root / "dev", root):
        _run("mount", "-o", "remount,bind,ro", str(folder))


def _check_read_only() -> None:
    """End here unless even root, as this still is, cannot write."""
    for name in ("/", "/tmp", "/mnt", "/dev"):
        try:
            Path(name, "written").write_text("")
        except OSError as error:
            if error.errno == errno.EROFS:
                continue
        sys.exit(f"{name} is not read-only")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


if __name__ == "__main__":
    main()
