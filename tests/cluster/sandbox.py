"""The namespaces in which a cluster runs, and processes in them."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bed.build import cache_root
from tests.bed.errors import BedError
from tests.bed.processes import Child
from tests.cluster import cgroups

SUPERVISOR = Path(__file__).with_name("supervisor.py")
ENTER = Path(__file__).with_name("enter.py")
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Place:
    """Namespaces to run programs in: those of the cluster's first process, network and mounts of a node's.

    `children` are all that were made there, to be waited for in the end.
    """

    init: int
    node: int
    groups: tuple[Path, ...]
    children: list[Child] = field(default_factory=list)

    def child(self, *command: str | Path, log: Path) -> Child:
        """A program in these namespaces that is not started yet; it ends with this process."""
        groups = ":".join(map(str, self.groups))
        words = [sys.executable, "-I", "-S", ENTER, str(self.init), str(self.node), groups, *command]
        child = Child(*words, log=log)
        self.children.append(child)
        return child

    def run(self, *command: str | Path) -> str:
        """What a program in these namespaces prints. Raises BedError with all that it said, if it fails."""
        done = subprocess.run(
            self.child(*command, log=Path(os.devnull)).command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise BedError(f"{' '.join(map(str, command))} ended with code {done.returncode}: {said}")
        return done.stdout


def program_of(child: Child) -> int | None:
    """The PID of the program that a started child of a Place runs; None while it is not there."""
    try:
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


class Sandbox:
    """Namespaces and control groups of their own, in which nothing is left when the context ends or this process does.

    `folder` is for what the cluster keeps on disk, and goes with it.
    """

    def __enter__(self) -> Self:
        parent = cache_root().parent / "cluster"
        parent.mkdir(parents=True, exist_ok=True)
        self._supervisor = subprocess.Popen(
            [sys.executable, SUPERVISOR, parent],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._supervisor.stdout
        init, _, folder = self._supervisor.stdout.readline().strip().partition(" ")
        self.folder = Path(folder)
        if not init:
            self._supervisor.communicate()
            raise BedError("the cluster's namespaces could not be made: the reason stands above")
        groups = tuple(folder / f"{cgroups.PREFIX}{self._supervisor.pid}" for _, folder in cgroups.hierarchies())
        self.place = Place(int(init), int(init), groups)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._supervisor.communicate()
        for child in self.place.children:
            if child.running:
                child.kill()

    @contextmanager
    def network(self) -> Iterator[None]:
        """Put this thread, and all that it starts, into the cluster's network, and back again."""
        with (
            Path("/proc/self/ns/net").open("rb") as ours,
            Path(f"/proc/{self.place.init}/ns/net").open("rb") as theirs,
        ):
            _enter(theirs.fileno())
            try:
                yield
            finally:
                _enter(ours.fileno())


def _enter(descriptor: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns failed")
