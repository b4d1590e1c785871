"""What a cluster could leave on the machine: processes, mounts, namespaces, control groups, devices, rules."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bed.build import cache_root
from tests.cluster.cgroups import PREFIX, ROOT

SYSCTLS = ("kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "net/ipv4/ip_forward")


@dataclass(frozen=True, slots=True)
class Traces:
    """All of it as it is seen at one time, from the machine's own namespaces."""

    mounts: frozenset[str]
    groups: frozenset[str]
    devices: frozenset[str]
    rules: str
    sysctls: tuple[str, ...]
    folders: frozenset[str]
    named_networks: frozenset[str]

    @classmethod
    def seen(cls) -> "Traces":
        """Look."""
        return cls(
            frozenset(line.split()[4] for line in Path("/proc/1/mountinfo").read_text().splitlines()),
            frozenset(str(path) for path in ROOT.rglob(f"{PREFIX}*")),
            frozenset(path.name for path in Path("/sys/class/net").iterdir()),
            _printed("nft", "list", "ruleset"),
            tuple(Path("/proc/sys", name).read_text() for name in SYSCTLS),
            frozenset(str(path) for path in (cache_root().parent / "cluster").glob("run-*")),
            frozenset(_printed("ip", "netns", "list").splitlines()),
        )


def processes_of(folder: Path) -> list[str]:
    """Command lines of all processes that have to do with a cluster's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


def namespaces_of(kind: str) -> set[str]:
    """The namespaces of a kind that any process is in."""
    found = set()
    for link in Path("/proc").glob(f"[0-9]*/ns/{kind}"):
        try:
            found.add(str(link.readlink()))
        except OSError:
            continue
    return found


def _printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
