"""Faults of the controllers' own processes."""

from collections.abc import Iterator

from tests.chaos.arena import LEASE_SECONDS
from tests.chaos.faults import Scene, fault

CONTROLLER = "controller"


@fault(CONTROLLER, "kill -9 of the leader", seconds=0.0, quick=True)
def killed(scene: Scene) -> Iterator[None]:
    scene.arena.restart(scene.arena.leader())
    yield


@fault(CONTROLLER, "leader frozen for longer than its Lease (SIGSTOP)", seconds=LEASE_SECONDS + 3.0, quick=True)
def frozen(scene: Scene) -> Iterator[None]:
    child = scene.arena.controllers[scene.arena.leader()].child
    child.pause()
    yield
    child.resume()
