"""Faults of the API server, and of what is between it and a controller."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bed.apiserver import ApiServer, Profile
from tests.bed.pki import create_authority
from tests.chaos import audit_log
from tests.chaos.arena import USERS
from tests.chaos.calls import Answer, Before, Call, every_third, slow
from tests.chaos.faults import Scene, fault
from tests.chaos.gateway import HOST
from tests.e2e.forwarder import Forwarder

API_SERVER = "API server"
TOO_MANY = Answer(429, "TooManyRequests", {"Retry-After": "1"})
INTERNAL = Answer(500, "InternalError")
UNAUTHORIZED = Answer(401, "Unauthorized")


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


@fault(API_SERVER, "frozen for 5 s (SIGSTOP)", seconds=5.0)
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


@fault(API_SERVER, "watches cut twice a second", seconds=0.0, quick=True)
def watches_cut(scene: Scene) -> Iterator[None]:
    for _ in range(10):
        cut(scene)
        time.sleep(0.5)
    yield


@fault(API_SERVER, "watches that send nothing for 20 s, until a proxy ends them", seconds=20.0)
def silent_watches(scene: Scene) -> Iterator[None]:
    with held_back(scene):
        yield
        cut(scene)


@fault(API_SERVER, "410 Gone: history compacted while the watches were silent", seconds=0.0)
def gone(scene: Scene) -> Iterator[None]:
    with held_back(scene):
        time.sleep(2.0)
        scene.arena.plane.forget_history()
        cut(scene)
    yield


@fault(API_SERVER, "credentials expire, and the kubeconfig has new ones 5 s later", seconds=5.0)
def expired(scene: Scene) -> Iterator[None]:
    token = f"token of {time.monotonic()}"

    def check(call: Call) -> Answer | None:
        return None if call.headers.get("Authorization") == f"Bearer {token}" else UNAUTHORIZED

    authority = scene.arena.plane.authority_of_bed
    with answering(scene, check):
        cut(scene)
        yield
        for gateway in scene.arena.gateways:
            gateway.write_kubeconfig(authority.certificate, authority.client(gateway.user), token)
        time.sleep(25.0)  # the stream goes on: what is old is now refused, what is new is taken


@fault(API_SERVER, "serving certificate replaced", seconds=2.0)
def certificate_replaced(scene: Scene) -> Iterator[None]:
    plane = scene.arena.plane
    for gateway in scene.arena.gateways:
        gateway.serve_as(plane.authority_of_bed.serving(HOST), plane.folder)
    cut(scene)
    yield


@fault(API_SERVER, "CA replaced, and the kubeconfig has the new one 3 s later", seconds=3.0)
def authority_replaced(scene: Scene) -> Iterator[None]:
    plane, authority = scene.arena.plane, create_authority("the new authority")
    for gateway in scene.arena.gateways:
        gateway.serve_as(authority.serving(HOST), plane.folder)
        gateway.cut_connections()
    yield
    for gateway in scene.arena.gateways:
        gateway.write_kubeconfig(authority.certificate, plane.authority_of_bed.client(gateway.user), "new")


@fault(API_SERVER, "stale reads from a second API server that does not reach etcd", seconds=8.0)
def stale(scene: Scene) -> Iterator[None]:
    arena = scene.arena
    with second_api_server(scene) as (second, way):
        for gateway in arena.gateways:
            gateway.target = second.port
        cut(scene)
        time.sleep(3.0)
        with way.silent():
            yield
        for gateway in arena.gateways:
            gateway.target = arena.plane.port
        cut(scene)
    time.sleep(0.5)


@contextmanager
def second_api_server(scene: Scene) -> Iterator[tuple[ApiServer, Forwarder]]:
    """Another API server on the same etcd, by a way that can go silent."""
    plane = scene.arena.plane
    folder = scene.arena.folder / f"second-{time.monotonic_ns()}"
    folder.mkdir()
    way = Forwarder(plane.etcd.url)
    recording = audit_log.arguments(folder, USERS)
    url = f"http://{HOST}:{way.port}"
    second = ApiServer(plane.program, folder, plane.authority_of_bed, url, recording, Profile())
    scene.arena.audit.paths.append(folder / "audit.log")
    try:
        second.start()
        yield second, way
    finally:
        second.child.kill()
        way.close()


@contextmanager
def held_back(scene: Scene) -> Iterator[None]:
    """No watch of a controller gets an event, until the end of the block."""
    for gateway in scene.arena.gateways:
        gateway.flowing.clear()
    try:
        yield
    finally:
        for gateway in scene.arena.gateways:
            gateway.flowing.set()


def cut(scene: Scene) -> None:
    """Cut every watch of both controllers."""
    for gateway in scene.arena.gateways:
        gateway.cut_watches()
