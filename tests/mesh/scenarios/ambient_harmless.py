"""What works in an ambient mesh without the guard, and what a VirtualService or DNS by hand breaks."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from app.kube.client import Object
from tests.bed.processes import wait_until
from tests.builders import applied
from tests.e2e.team import SERVICE_ENTRIES
from tests.mesh.ambient_arms import (
    APART,
    APART_BY_HAND,
    BESIDE,
    BESIDE_BY_HAND,
    EDGE,
    EDGE_BY_HAND,
    GATEWAYS,
    SHARING,
    SHARING_BY_HAND,
)
from tests.mesh.ambient_mesh import AmbientMesh
from tests.mesh.application import Application, Client, Outcomes, expecting, hammer
from tests.mesh.arms import Arm
from tests.mesh.manifests import entry, recipe_by_hand
from tests.mesh.networks import plain_address
from tests.mesh.scenarios.ambient import resolution
from tests.mesh.trial import Findings, Trial

TITLE = "11 Ambient: what worked before"
ROUTED = "an HTTPRoute on the entry leads `/v1` elsewhere"
SIDECAR = "a sidecar beside the waypoint calls a host that it does not know"
SHARED = "two namespaces have the host at one waypoint"
REQUESTS = 20
SETTLED_SECONDS = 60.0


def trials(mesh: AmbientMesh) -> Iterator[Trial]:
    """By hand, and the guard."""
    for arm in (APART_BY_HAND, APART):
        yield _http_route(mesh, arm)
    for arm, edge in ((BESIDE_BY_HAND, EDGE_BY_HAND), (BESIDE, EDGE)):
        yield _sidecar(mesh, arm, edge)
    for arm, first in ((SHARING_BY_HAND, APART_BY_HAND), (SHARING, APART)):
        yield _shared(mesh, arm, first)


def _by_hand(arm: Arm, host: str, *names: str) -> list[Object]:
    document = recipe_by_hand(arm, host, 80)
    return [] if arm.labels else [{**document, "spec": {**document["spec"], "exportTo": [".", *names]}}]


def _http_route(mesh: AmbientMesh, arm: Arm) -> Trial:
    host, other = (f"{label}.{arm.namespace}.example" for label in ("routed", "v1"))
    upstreams = [mesh.upstream(plain_address()) for _ in range(2)]
    for name, upstream in zip((host, other), upstreams, strict=True):
        mesh.names.point(name, upstream.address)
    servers = {upstream.place: name for upstream, name in zip(upstreams, ("the host", "the other one"), strict=True)}
    connect = expecting(partial(Application, mesh.pod(arm), host), upstreams[1].place, servers)
    entries = [entry(arm, name, resolution=resolution(arm), exportTo=["."]) for name in (host, other)]

    def work() -> Findings:
        mesh.capture(arm, host, host)
        return _each(connect, "/v1")

    return Trial(TITLE, ROUTED, arm, [_route(arm, host, other), *entries, *_by_hand(arm, host, GATEWAYS)], work)


def _route(arm: Arm, host: str, other: str) -> Object:
    parent = {"group": "networking.istio.io", "kind": "ServiceEntry", "name": host}
    to = [{"group": "networking.istio.io", "kind": "Hostname", "name": name, "port": 80} for name in (other, host)]
    versioned = {"matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}], "backendRefs": to[:1]}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "routed", "namespace": arm.namespace},
        "spec": {"parentRefs": [parent], "rules": [versioned, {"backendRefs": to[1:]}]},
    }


def _sidecar(mesh: AmbientMesh, arm: Arm, edge: str) -> Trial:
    host = f"private.{arm.namespace}.example"
    mesh.names.point(host, mesh.upstream(plain_address()).address)
    manifests = [entry(arm, host, resolution=resolution(arm), exportTo=["."]), *_by_hand(arm, host, edge)]
    work = partial(_each, partial(Application, mesh.beside(edge), host))
    return Trial(TITLE, SIDECAR, arm, manifests, work)


def _shared(mesh: AmbientMesh, arm: Arm, first: Arm) -> Trial:
    """The second entry is written while the first is there, and has an address: the controller puts both back.

    With DNS by hand Istio keeps the address of one of them at the waypoint, not always of the same one. The other one
    is called.
    """
    host = f"shared.{arm.namespace}.example"
    mesh.names.point(host, mesh.upstream(plain_address()).address)
    wanted, arms = resolution(arm), (first, arm)

    def written(one: Arm) -> Object:
        return applied(entry(one, host, resolution=wanted, exportTo=["."]))

    def work() -> Findings:
        mesh.capture(first, host, host)
        mesh.client.create(SERVICE_ENTRIES, written(arm))
        for one in arms:
            wait_until(partial(_has, mesh, one, host, wanted), f"{one.namespace}/{host} is {wanted}", SETTLED_SECONDS)
        if wanted == "DNS":
            mesh.wait_until_allocated(written(arm))
        mesh.catch_up(arm)
        return _call_the_one_left_out(mesh, host, arms) if wanted == "DNS" else _call_from(mesh, host, arms)

    return Trial(TITLE, SHARED, arm, [written(first)], work)


def _call_from(mesh: AmbientMesh, host: str, arms: Sequence[Arm]) -> Findings:
    """Call a host in each of these namespaces."""
    for arm in arms:
        mesh.capture(arm, host, host)
    return Findings(hammer([partial(Application, mesh.pod(arm), host) for arm in arms], REQUESTS))


def _call_the_one_left_out(mesh: AmbientMesh, host: str, arms: Sequence[Arm]) -> Findings:
    """Call a host where the waypoint does not know its address; again, if the waypoint came to know it meanwhile."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while True:
        caller = next((one for one in arms if not mesh.is_served(one, host, host)), arms[-1])
        found = _call_from(mesh, host, [caller])
        if not mesh.is_served(caller, host, host) or time.monotonic() > deadline:
            return found


def _has(mesh: AmbientMesh, arm: Arm, name: str, resolution: str) -> bool:
    return bool(mesh.client.get(SERVICE_ENTRIES, arm.namespace, name)["spec"]["resolution"] == resolution)


def _each(connect: Callable[[], Client], path: str = "") -> Findings:
    """Send requests one after the other."""
    if not path:
        return Findings(hammer([connect], REQUESTS))
    outcomes, client = Outcomes(), connect()
    for number in range(REQUESTS):
        outcomes.send(client, "GET", f"{path}/{number}")
    return Findings(outcomes)
