"""What the figures were measured on, and what its kernel knows of a process."""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bed.binaries import Binaries

GIBIBYTE = 1024**3


def describe(binaries: Binaries) -> Iterator[tuple[str, str]]:
    """Names and values: the hardware, how busy it is with other things, and the versions beside the product."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    yield "machine", f"{os.cpu_count()} cores, {_processor()}, {pages * size / GIBIBYTE:.1f} GiB"
    yield "load before the run", f"{os.getloadavg()[0]:.2f}"
    yield "speed", f"{_speed() * 1000:.0f} ms of CPU time for a million additions in Python"
    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "Python", platform.python_version()
    yield "kube-apiserver", _version(binaries.kube_apiserver)
    yield "etcd", f"{_version(binaries.etcd)}, one member, without fsync"


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has spent."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def cpu_nanoseconds(pid: int) -> int:
    """CPU time that the threads of a process have spent which there are now."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def peak_memory(pid: int) -> float:
    """The most memory that a process has had resident, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _speed() -> float:
    """How fast one core is today, by the best of several tries: a shared machine is not the same from day to day."""
    return min(map(_additions, range(5)))


def _additions(total: int) -> float:
    began = time.process_time()
    for number in range(1_000_000):
        total += number
    return time.process_time() - began


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(program: Path) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return said.splitlines()[0].split()[-1]
