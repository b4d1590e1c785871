"""Entries that a waypoint serves, in an ambient mesh."""

from collections.abc import Callable, Iterator
from functools import partial

from tests.mesh.ambient_arms import APART, APART_OFF, OFF, RECIPE
from tests.mesh.ambient_mesh import AmbientMesh
from tests.mesh.application import Application, hammer
from tests.mesh.arms import Arm
from tests.mesh.manifests import entry
from tests.mesh.networks import plain_address
from tests.mesh.scenarios.termination import CUT, CUT_EVERY
from tests.mesh.trial import Findings, Trial

TITLE = "10 Ambient: at a waypoint"
OWN = f"waypoint in its own namespace, {CUT}"
ELSEWHERE = f'waypoint in another namespace, `exportTo: ["."]`, {CUT}'
APPLICATIONS, REQUESTS = 4, 50


def trials(mesh: AmbientMesh) -> Iterator[Trial]:
    """Connection termination."""
    for circumstances, arms in ((OWN, (OFF, RECIPE)), (ELSEWHERE, (APART_OFF, APART))):
        for arm in arms:
            yield _termination(mesh, circumstances, arm)


def resolution(arm: Arm) -> str:
    """What people write: without the guard, DNS by hand, or the waypoint would never see a call."""
    return "NONE" if arm.labels else "DNS"


def _termination(mesh: AmbientMesh, circumstances: str, arm: Arm) -> Trial:
    host = f"cut.{arm.namespace}.example"
    upstream = mesh.upstream(plain_address(), cut_every=CUT_EVERY)
    mesh.names.point(host, upstream.address)
    connect = partial(Application, mesh.pod(arm), host)
    manifest = entry(arm, host, resolution=resolution(arm), exportTo=["."])

    def work() -> Findings:
        mesh.capture(arm, host, host)
        return hammered([connect] * APPLICATIONS)

    return Trial(TITLE, circumstances, arm, [manifest], work)


def hammered(connects: list[Callable[[], Application]]) -> Findings:
    """Send requests from some applications at once."""
    return Findings(hammer(connects, REQUESTS))
