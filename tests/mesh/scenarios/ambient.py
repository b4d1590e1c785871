"""Entries that a waypoint serves, in an ambient mesh: the failures of the other scenarios, at a waypoint."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tests.mesh import networks
from tests.mesh.ambient_arms import APART, APART_OFF, IDLE_OFF, IDLE_TIMEOUT, OFF, RECIPE
from tests.mesh.ambient_mesh import AmbientMesh
from tests.mesh.application import Application, Client, hammer
from tests.mesh.arms import Arm
from tests.mesh.grpc_client import GrpcApplication
from tests.mesh.manifests import HTTP, entry
from tests.mesh.networks import plain_address
from tests.mesh.scenarios import firewall, rotation
from tests.mesh.scenarios.firewall import Idleness
from tests.mesh.scenarios.rotation import Rotation
from tests.mesh.scenarios.shapes import GRPC, GRPC_PORT
from tests.mesh.scenarios.termination import CUT, CUT_EVERY
from tests.mesh.trial import Findings, Trial

TITLE = "10 Ambient: at a waypoint"
OWN = f"waypoint in its own namespace, {CUT}"
ELSEWHERE = f'waypoint in another namespace, `exportTo: ["."]`, {CUT}'
GRPC_CALLS = f"gRPC, {CUT}"
MOVED = Rotation(2, in_flight=True)
FORGOTTEN = Idleness(resets=False)
APPLICATIONS, REQUESTS = 4, 50


def trials(mesh: AmbientMesh) -> Iterator[Trial]:
    """Connections that end, gRPC, an address that rotates, and a firewall that forgets."""
    for circumstances, arms in ((OWN, (OFF, RECIPE)), (ELSEWHERE, (APART_OFF, APART))):
        for arm in arms:
            yield _termination(mesh, circumstances, arm)
    for arm in (APART_OFF, APART):
        yield _grpc(mesh, arm)
        yield _rotation(mesh, arm)
    for arm in (IDLE_OFF, IDLE_TIMEOUT):
        yield _firewall(mesh, arm)


def resolution(arm: Arm) -> str:
    """What people write: without the guard DNS, or no call comes to the waypoint."""
    return "NONE" if arm.labels else "DNS"


def _termination(mesh: AmbientMesh, circumstances: str, arm: Arm) -> Trial:
    host = f"cut.{arm.namespace}.example"
    upstream = mesh.upstream(plain_address(), cut_every=CUT_EVERY)
    mesh.names.point(host, upstream.address)
    manifest = entry(arm, host, resolution=resolution(arm), exportTo=["."])
    connects = [partial(Application, mesh.pod(arm), host)] * APPLICATIONS
    return Trial(TITLE, circumstances, arm, [manifest], partial(_hammer, mesh, arm, host, connects))


def _grpc(mesh: AmbientMesh, arm: Arm) -> Trial:
    host = f"grpc.{arm.namespace}.example"
    upstream = mesh.upstream(plain_address(), GRPC_PORT, cut_every=CUT_EVERY, grpc=True)
    mesh.names.point(host, upstream.address)
    manifest = entry(arm, host, GRPC, resolution=resolution(arm), exportTo=["."])
    connects = [partial(GrpcApplication, mesh.pod(arm), host, upstream.port)]
    return Trial(TITLE, GRPC_CALLS, arm, [manifest], partial(_hammer, mesh, arm, host, connects))


def _hammer(mesh: AmbientMesh, arm: Arm, host: str, connects: Sequence[Callable[[], Client]]) -> Findings:
    mesh.capture(arm, host, host)
    return Findings(hammer(connects, REQUESTS))


def _rotation(mesh: AmbientMesh, arm: Arm) -> Trial:
    """The waypoint resolves the host; the application knows only the allocated address."""
    host = f"{MOVED.slug}.{arm.namespace}.example"
    old, new = (mesh.upstream(plain_address(), delay=rotation.ANSWER_SECONDS) for _ in range(2))
    mesh.names.point(host, old.address)

    def turn() -> None:
        mesh.names.wait_until_asked(host, mesh.waypoint(arm).address)
        mesh.names.point(host, new.address)
        time.sleep(MOVED.gone_after)
        old.cut()

    def work() -> Findings:
        mesh.capture(arm, host, host)
        return rotation.in_flight(MOVED, partial(Application, mesh.pod(arm), host), turn, new)

    manifest = entry(arm, host, resolution=resolution(arm), exportTo=["."])
    return Trial(TITLE, str(MOVED), arm, [manifest], work, waits=True)


def _firewall(mesh: AmbientMesh, arm: Arm) -> Trial:
    host = f"http-{FORGOTTEN.slug}.{arm.namespace}.example"
    mesh.names.point(host, mesh.upstream(networks.firewalled_address(resets=FORGOTTEN.resets)).address)

    def work() -> Findings:
        mesh.capture(arm, host, host)
        return firewall.idle(partial(Application, mesh.pod(arm), host), FORGOTTEN)

    manifest = entry(arm, host, HTTP, resolution=resolution(arm), exportTo=["."])
    return Trial(TITLE, str(FORGOTTEN), arm, [manifest], work, waits=True)
