"""Control groups of a cluster: one of its own in every hierarchy of the machine, removed at the end.

Kernels with version 1 have a hierarchy for each controller. The kubelet needs all of them, the one named systemd too.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "serviceentry-guard-cluster-"
REMOVAL_SECONDS = 10.0
SHARES, SHARES_OF_PODS = "16384", "8192"
"""Weight for the processors, of a cluster and of the pods of a node: of 16 and 8 processes. A group has that of one."""


def hierarchies() -> Iterator[tuple[str, Path]]:
    """Each hierarchy of version 1: its name below /sys/fs/cgroup, and the folder of this process's own group."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        name = controllers.removeprefix("name=")
        if name and (ROOT / name).is_dir():
            yield name, ROOT / name / path.lstrip("/")


def create(owner: int) -> list[Path]:
    """A group named after the process `owner` in every hierarchy."""
    made = []
    for _, folder in hierarchies():
        group = folder / f"{PREFIX}{owner}"
        group.mkdir(exist_ok=True)
        _settle(group, SHARES)
        made.append(group)
    return made


def create_for_pods(groups: tuple[Path, ...], node: str) -> None:
    """A group named after a node in each of a cluster's groups."""
    for group in groups:
        (group / node).mkdir()
        _settle(group / node, SHARES_OF_PODS)


def _settle(group: Path, shares: str) -> None:
    for setting in ("cpuset.cpus", "cpuset.mems"):
        if (group / setting).exists():
            (group / setting).write_text((group.parent / setting).read_text())
    if (group / "cpu.shares").exists():
        (group / "cpu.shares").write_text(shares)


def join(groups: list[Path], process: int) -> None:
    """Put a process into all of `groups`."""
    for group in groups:
        (group / "cgroup.procs").write_text(str(process))


def remove(groups: list[Path]) -> None:
    """Remove groups and all that is below them, once their processes have ended."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while any(group.exists() for group in groups):
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):  # the kernel needs a moment after the last process
                    Path(folder).rmdir()
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def left_behind() -> list[Path]:
    """Groups of clusters whose owner has ended without removing them."""
    found = [group for _, folder in hierarchies() for group in folder.glob(f"{PREFIX}*")]
    return [group for group in found if not Path("/proc", group.name.removeprefix(PREFIX)).exists()]
