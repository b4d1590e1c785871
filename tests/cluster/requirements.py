"""What a machine must have to run a cluster, in one sentence where it lacks something."""

import os
import platform
import shutil
from pathlib import Path

from tests.bed.build import cached
from tests.bed.tools import RUNC
from tests.cluster.cgroups import ROOT
from tests.image.base import complaint as complaint_of_image
from tests.image.base import search_path

PROGRAMS = {"ip": "iproute2", "mount": "mount", "nft": "nftables", "unshare": "util-linux"}
"""What nodes need, and the Debian package that has it."""
FOR_RUNC = {"cc": "gcc", "pkg-config": "pkg-config"}
"""What runc is built with, besides Debian's libseccomp-dev."""
HIERARCHIES = ("cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids", "systemd")
REPLACED = Path("/var")
"""Each node has files of its own there."""


def unsuitable() -> str | None:
    """Why the kernel of this machine cannot run a cluster, whatever is installed; None if it can."""
    if platform.system() != "Linux":
        return "the cluster test runs on Linux only: its nodes are namespaces"
    if missing := [name for name in HIERARCHIES if not (ROOT / name / "cgroup.procs").exists()]:
        return f"the cluster test needs control groups of version 1, and {ROOT} lacks {', '.join(missing)}"
    return None


def complaint() -> str | None:
    """Why no cluster can run on this machine, and what to do about it; None if one can."""
    if reason := unsuitable():
        return reason
    if os.geteuid() != 0:
        return "the cluster test has to be root, to make namespaces and to mount: run it with sudo, or in a container"
    if Path.home().is_relative_to(REPLACED) and "XDG_CACHE_HOME" not in os.environ:
        return (
            f"the cache would be below {REPLACED}, which each node has of its own: set XDG_CACHE_HOME to another place"
        )
    programs = PROGRAMS if cached(RUNC).exists() else {**PROGRAMS, **FOR_RUNC}
    missing = sorted({package for program, package in programs.items() if not _has(program)})
    if missing:
        return f"the cluster test needs {', '.join(missing)}: apt-get install {' '.join(missing)}"
    return complaint_of_image()


def _has(program: str) -> bool:
    return shutil.which(program, path=search_path()) is not None
