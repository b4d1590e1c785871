"""The first process of a cluster: mounts what its namespaces need, says so, and then only collects ended processes.

Run as a script by supervisor.py: `init.py DESCRIPTOR FOLDER`. Its PID, as the machine sees it, is written to DESCRIPTOR
once everything is mounted. When this process ends, the kernel ends all others of the cluster.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SYSCTLS = {
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}
"""What the kubelet sets for the whole machine; it finds these values instead and leaves the machine's alone."""


def main() -> None:
    report, folder = int(sys.argv[1]), Path(sys.argv[2])
    process = Path("/proc/self").readlink()  # this /proc is still the machine's
    _mount_all(folder)
    _run("ip link set lo up")
    os.write(report, f"{process}\n".encode())
    os.close(report)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            signal.sigtimedwait([signal.SIGCHLD], 1)


def _mount_all(folder: Path) -> None:
    names = [path.name for path in CGROUPS.iterdir() if (path / "cgroup.procs").exists() and path.name != "unified"]
    _run("mount --make-rprivate /")
    _run("mount -t proc proc /proc")
    _run("mount -t sysfs sysfs /sys")
    _run(f"mount -t tmpfs tmpfs {CGROUPS}")
    for name in names:
        (CGROUPS / name).mkdir()
        option = "none,name=systemd" if name == "systemd" else name
        _run(f"mount -t cgroup -o {option} cgroup {CGROUPS / name}")
    for name, value in SYSCTLS.items():
        file = folder / name.replace("/", ".")
        file.write_text(f"{value}\n")
        _run(f"mount --bind {file} /proc/sys/{name}")
    _run("mount --make-rshared /")


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)


if __name__ == "__main__":
    main()
