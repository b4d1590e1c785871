"""Faults of the API server, and of what is between it and a controller."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.chaos.faults import Scene, fault
from tests.chaos.gateway import Answer, Before, every_third, slow

API_SERVER = "API server"
TOO_MANY = Answer(429, "TooManyRequests", {"Retry-After": "1"})
INTERNAL = Answer(500, "InternalError")


@contextmanager
def answering(scene: Scene, before: Before) -> Iterator[None]:
    """Put a rule before all calls of both controllers."""
    for gateway in scene.arena.gateways:
        gateway.before = before
    try:
        yield
    finally:
        for gateway in scene.arena.gateways:
            gateway.before = lambda _call: None


@fault(API_SERVER, "kill -9, and started again", seconds=1.0, quick=True)
def killed(scene: Scene) -> Iterator[None]:
    scene.arena.plane.apiserver.child.kill()
    yield
    scene.arena.plane.apiserver.start()


@fault(API_SERVER, "frozen for 5 s (SIGSTOP)", seconds=5.0, quick=True)
def frozen(scene: Scene) -> Iterator[None]:
    scene.arena.plane.pause()
    yield
    scene.arena.plane.resume()


@fault(API_SERVER, "frozen for a minute (SIGSTOP)", seconds=60.0)
def frozen_long(scene: Scene) -> Iterator[None]:
    scene.arena.plane.pause()
    yield
    scene.arena.plane.resume()


@fault(API_SERVER, "429 on every third call", seconds=6.0)
def throttling(scene: Scene) -> Iterator[None]:
    with answering(scene, every_third(TOO_MANY)):
        yield


@fault(API_SERVER, "500 on every third call", seconds=6.0, quick=True)
def failing(scene: Scene) -> Iterator[None]:
    with answering(scene, every_third(INTERNAL)):
        yield


@fault(API_SERVER, "each call takes a second longer", seconds=10.0)
def slowed(scene: Scene) -> Iterator[None]:
    with answering(scene, slow(1.0)):
        yield


@fault(API_SERVER, "watches cut, again and again", seconds=6.0, quick=True)
def watches_cut(scene: Scene) -> Iterator[None]:
    with ExitStack() as stack:
        stack.callback(cut, scene)
        for _ in range(3):
            cut(scene)
        yield


def cut(scene: Scene) -> None:
    """Cut every watch of both controllers."""
    for gateway in scene.arena.gateways:
        gateway.cut_watches()
