"""Faults of the controllers' own processes."""

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from app.kube.client import Object
from app.kube.errors import AlreadyExists, NotFound, Unreachable
from app.kube.resources import LEASES, SERVICE_ENTRIES
from app.settings import LEASE_NAME
from tests.bed.processes import wait_until
from tests.builders import HTTP
from tests.chaos import clock
from tests.chaos.arena import LEASE_SECONDS
from tests.chaos.calls import Call
from tests.chaos.faults import Scene, fault
from tests.chaos.gateway import Gateway

CONTROLLER = "controller"
HOUR = 3600
STEP_SECONDS = 60.0
"""Within this time the stream brings about every step of a reconciliation."""
STEPS = (
    ("an apply of a VirtualService", "PATCH virtualservices"),
    ("a delete of a VirtualService", "DELETE virtualservices"),
    ("a renewal of the Lease", "PUT leases"),
    ("an Event", "POST events"),
    ("a list of ServiceEntries", "GET serviceentries"),
    ("the start of a watch", "WATCH virtualservices"),
)
"""The calls between which a reconciliation, and all else that a leader does, has its steps."""


@fault(CONTROLLER, "kill -9 of the leader", seconds=0.0, quick=True)
def killed(scene: Scene) -> Iterator[None]:
    scene.arena.restart(scene.arena.leader())
    yield


@fault(CONTROLLER, "kill -9 of both", seconds=0.0)
def both_killed(scene: Scene) -> Iterator[None]:
    for place in (0, 1):
        scene.arena.restart(place)
    yield


def _killed_at(scene: Scene, kind: str, *, answered: bool) -> Iterator[None]:
    """Kill the controller that makes a call: before the call reaches the API server, or before its answer returns."""
    done, turn = threading.Event(), threading.Lock()
    for place, gateway in enumerate(scene.arena.gateways):
        _arm(gateway, partial(_kill_once, scene, place, done, turn), kind, answered=answered)
    if kind.startswith(("GET", "WATCH")):
        for gateway in scene.arena.gateways:
            gateway.cut_watches()
        if kind.startswith("GET"):
            scene.arena.restart(1 - scene.arena.leader())
    wait_until(done.is_set, f"a controller makes the call {kind}", STEP_SECONDS)
    for gateway in scene.arena.gateways:
        gateway.before, gateway.after = (lambda _call: None), (lambda _call, _status: None)
    for controller in scene.arena.controllers:
        if not controller.child.running:
            controller.child.start()
    yield


def _arm(gateway: Gateway, kill: "partial[None]", kind: str, *, answered: bool) -> None:
    def before(call: Call) -> None:
        if call.kind == kind:
            kill()

    def after(call: Call, _status: int) -> None:
        if call.kind == kind:
            kill()

    if answered:
        gateway.after = after
    else:
        gateway.before = before


def _kill_once(scene: Scene, place: int, done: threading.Event, turn: threading.Lock) -> None:
    with turn:
        if not done.is_set():
            scene.arena.controllers[place].child.kill()
            done.set()


for _words, _kind in STEPS:
    for _answered in (False, True):
        _when = "after" if _answered else "before"
        fault(CONTROLLER, f"kill -9 {_when} {_words}", seconds=0.0)(partial(_killed_at, kind=_kind, answered=_answered))


@fault(CONTROLLER, "leader frozen for longer than its Lease (SIGSTOP)", seconds=LEASE_SECONDS + 3.0)
def frozen(scene: Scene) -> Iterator[None]:
    child = scene.arena.controllers[scene.arena.leader()].child
    child.pause()
    yield
    child.resume()


@fault(CONTROLLER, "two leaders forced: the Lease is emptied twice a second", seconds=0.0, forced=("two writers",))
def two_leaders(scene: Scene) -> Iterator[None]:
    empty = [{"op": "replace", "path": "/spec/holderIdentity", "value": ""}]
    for _ in range(12):
        scene.arena.client.json_patch(LEASES, "default", LEASE_NAME, empty)
        time.sleep(0.5)
    yield


@fault(CONTROLLER, "two leaders forced: a third controller writes without a Lease", forced=("two writers",))
def without_lease(scene: Scene) -> Iterator[None]:
    other = 1 - scene.arena.leader()
    with scene.arena.make_controller(other, "--no-leader-elect"):
        time.sleep(6.0)
        yield


@fault(CONTROLLER, "the Lease is deleted", seconds=1.0, forced=("two writers",))
def lease_deleted(scene: Scene) -> Iterator[None]:
    scene.arena.client.delete(LEASES, "default", LEASE_NAME)
    yield


MEMORY = Path("/sys/fs/cgroup/memory")
"""The hierarchy of control groups of version 1 that limits memory."""


def no_memory_groups() -> str | None:
    """Say why a process cannot be given a memory limit here; None if it can."""
    return None if os.access(MEMORY / "cgroup.procs", os.W_OK) else "it needs root, and control groups of version 1"


@contextmanager
def memory_limit(pid: int) -> Iterator[None]:
    """Let a process have 2 MiB more than it has now, as the kernel limits a container, until the end of the block."""
    before = next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if ":memory:" in line)
    own = MEMORY / before.rpartition(":")[2].lstrip("/")
    group = own / f"serviceentry-guard-chaos-{pid}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(2 << 20))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        if Path(f"/proc/{pid}").exists():
            with suppress(OSError):  # it ends at this moment
                (own / "cgroup.procs").write_text(str(pid))
        wait_until(lambda: _removed(group), "the control group is removed", 20)


def _removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def _stepped(scene: Scene, seconds: int) -> Iterator[None]:
    leader = scene.arena.clock(scene.arena.leader())
    leader.step(seconds)
    for gateway in scene.arena.gateways:
        gateway.cut_watches()
    yield
    leader.step(0)


for _words, _seconds in (("forward", HOUR), ("back", -HOUR)):
    fault(CONTROLLER, f"clock of the leader an hour {_words}", seconds=8.0, complaint=clock.complaint)(
        partial(_stepped, seconds=_seconds)
    )


@contextmanager
def limited(pid: int, kind: int, value: int) -> Iterator[None]:
    """A soft limit of a process, until the end of the block."""
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (value, before[1]))
    try:
        yield
    finally:
        if Path(f"/proc/{pid}").exists():
            resource.prlimit(pid, kind, before)


@fault(CONTROLLER, "the leader meets its memory limit", seconds=8.0, complaint=no_memory_groups)
def no_memory(scene: Scene) -> Iterator[None]:
    place = scene.arena.leader()
    child = scene.arena.controllers[place].child
    with memory_limit(child.pid):
        # What is read of these is more than the limit.
        large = [_large(number) for number in range(25)]
        for each in large:
            if child.running:
                _create(scene, each)
        scene.arena.gateways[place].cut_watches()
        yield
        scene.notes.append("ended by the kernel" if not child.running else "it goes on")
    scene.arena.restart(place)
    for each in large:
        with suppress(NotFound):
            scene.arena.client.delete(SERVICE_ENTRIES, each["metadata"]["namespace"], each["metadata"]["name"])


def _create(scene: Scene, entry: Object) -> None:
    # Near its limit a process keeps the machine busy: the API server may be slow.
    with suppress(Unreachable, AlreadyExists):
        scene.arena.client.create(SERVICE_ENTRIES, entry)


def _large(number: int) -> Object:
    metadata = {"namespace": "chaos-probe", "name": f"large-{number}", "annotations": {"note": "x" * 250_000}}
    spec = {"hosts": [f"large-{number}.example.com"], "ports": [HTTP], "resolution": "DNS"}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": spec}


@fault(CONTROLLER, "no more file descriptors for the leader", seconds=8.0)
def no_descriptors(scene: Scene) -> Iterator[None]:
    place = scene.arena.leader()
    pid = scene.arena.controllers[place].child.pid
    with limited(pid, resource.RLIMIT_NOFILE, 3):
        scene.arena.gateways[place].cut_connections()
        yield


@fault(CONTROLLER, "the log cannot be written", seconds=8.0)
def log_full(scene: Scene) -> Iterator[None]:
    before = [controller.child.log for controller in scene.arena.controllers]
    for place, controller in enumerate(scene.arena.controllers):
        controller.child.log = Path("/dev/full")
        scene.arena.restart(place)
    scene.arena.leader()
    yield
    for place, controller in enumerate(scene.arena.controllers):
        controller.child.log = before[place]
        scene.arena.restart(place)
