"""Namespaces that share a host: the settings of one namespace, and what the guard emits there, do not reach others."""

from collections.abc import Callable, Iterator
from functools import partial

from app.kube.client import Object
from tests.mesh.application import Application, Client, Outcomes, at_once, expecting, hammer
from tests.mesh.arms import BY_HAND, BY_HAND_NEIGHBOUR, EGRESS, EXEMPT, NEIGHBOUR, OFF, RECIPE, TENANT, WARNED, Arm
from tests.mesh.manifests import HTTP, entry, recipe_by_hand, virtual_service
from tests.mesh.mesh import Mesh
from tests.mesh.networks import plain_address
from tests.mesh.scenarios.termination import CUT_EVERY
from tests.mesh.trial import Findings, Trial
from tests.mesh.upstreams import Upstream

TITLE = "9 Namespaces that share a host"
TUNED = "an older entry of a neighbour has `timeout: 10ms`, `attempts: 0`; every 5th request is cut"
TUNED_EXPORTED = "an entry of a neighbour, exported to the caller, has `timeout: 10ms`, `attempts: 0`"
WITH_ENTRY = "an enforced neighbour and the caller have an entry each; answers take 3 s"
WITHOUT_ENTRY = "only an enforced neighbour has an entry; answers take 3 s"
GATED = "a VirtualService leads the caller's requests for `*.gated.example` to an egress gateway"
APPLICATIONS, REQUESTS = 2, 25
ANSWER_SECONDS, SLOW_SECONDS = 0.1, 3.0
GATEWAY = "gateway.egress.example"
TUNING = {"timeout": "10ms", "attempts": "0"}
REASON = "the vendor pins its addresses"


def trials(mesh: Mesh) -> Iterator[Trial]:
    """Public VirtualServices written by hand, and those that the guard emits."""
    yield from _tuned(mesh)
    yield from _slow(mesh)
    yield from _gated(mesh)


def _tuned(mesh: Mesh) -> Iterator[Trial]:
    """Of two public VirtualServices for a host, istiod takes the older one."""
    host = "tuned.{}.example".format
    theirs = [entry(BY_HAND_NEIGHBOUR, host("by-hand"), resolution="DNS"), _tuned_by_hand(host("by-hand"))]
    ours = [entry(BY_HAND, host("by-hand"), resolution="DNS"), recipe_by_hand(BY_HAND, host("by-hand"), 80)]
    guarded = [entry(NEIGHBOUR, host("recipe"), annotations=TUNING), entry(RECIPE, host("recipe"))]
    yield _quick_trial(mesh, TUNED, BY_HAND, host("by-hand"), [*theirs, *ours])
    yield _quick_trial(mesh, TUNED, RECIPE, host("recipe"), guarded)
    host = "tuned-exported.{}.example".format
    theirs = [entry(BY_HAND_NEIGHBOUR, host("by-hand"), resolution="DNS"), _tuned_by_hand(host("by-hand"))]
    guarded = [entry(NEIGHBOUR, host("recipe"), annotations=TUNING, exportTo=[".", RECIPE.namespace])]
    yield _quick_trial(mesh, TUNED_EXPORTED, BY_HAND, host("by-hand"), theirs)
    yield _quick_trial(mesh, TUNED_EXPORTED, RECIPE, host("recipe"), guarded)


def _tuned_by_hand(host: str) -> Object:
    return recipe_by_hand(BY_HAND_NEIGHBOUR, host, 80, TUNING["timeout"], int(TUNING["attempts"]))


def _quick_trial(mesh: Mesh, circumstances: str, arm: Arm, host: str, manifests: list[Object]) -> Trial:
    cut_every = CUT_EVERY if circumstances == TUNED else 0
    upstream = mesh.upstream(plain_address(), delay=ANSWER_SECONDS, cut_every=cut_every)
    mesh.names.point(host, upstream.address)
    return Trial(TITLE, circumstances, arm, manifests, partial(_work, partial(Application, mesh.pod(arm), host)))


def _slow(mesh: Mesh) -> Iterator[Trial]:
    """The recipe ends each try after 2 s, so it must not reach a namespace that did not agree to it."""
    host = "with-entry.{}.example".format
    for arm, manifests in (
        (BY_HAND, [*_recipe_of_neighbour(host("by-hand")), entry(BY_HAND, host("by-hand"), resolution="DNS")]),
        (WARNED, [entry(NEIGHBOUR, host("warned")), entry(WARNED, host("warned"))]),
        (
            EXEMPT,
            [
                entry(NEIGHBOUR, host("exempt"), exportTo=[".", EXEMPT.namespace]),
                entry(EXEMPT, host("exempt"), annotations={"exempt": REASON}),
            ],
        ),
    ):
        yield _slow_trial(mesh, WITH_ENTRY, arm, host(arm.namespace), manifests)
    host = "without-entry.{}.example".format
    yield _slow_trial(mesh, WITHOUT_ENTRY, BY_HAND, host("by-hand"), _recipe_of_neighbour(host("by-hand")))
    theirs = entry(NEIGHBOUR, host("warned"), exportTo=[".", WARNED.namespace])
    yield _slow_trial(mesh, WITHOUT_ENTRY, WARNED, host("warned"), [theirs])


def _recipe_of_neighbour(host: str) -> list[Object]:
    return [entry(BY_HAND_NEIGHBOUR, host, resolution="DNS"), recipe_by_hand(BY_HAND_NEIGHBOUR, host, 80)]


def _slow_trial(mesh: Mesh, circumstances: str, arm: Arm, host: str, manifests: list[Object]) -> Trial:
    upstream = mesh.upstream(plain_address(), delay=SLOW_SECONDS)
    mesh.names.point(host, upstream.address)
    work = partial(_work_slowly, partial(Application, mesh.pod(arm), host), upstream)
    return Trial(TITLE, circumstances, arm, manifests, work, waits=True)


def _gated(mesh: Mesh) -> Iterator[Trial]:
    """An upstream stands for the gateway: who answers shows where the sidecar led the request."""
    gateway = mesh.upstream(plain_address())
    manifests = [*_egress(gateway)]
    for arm, caller, home, by_hand, spec in (
        (OFF, BY_HAND, BY_HAND_NEIGHBOUR, False, {}),
        (BY_HAND, BY_HAND, BY_HAND_NEIGHBOUR, True, {"resolution": "DNS"}),
        (RECIPE, TENANT, RECIPE, False, {"exportTo": [".", TENANT.namespace]}),
    ):
        host = f"{arm.namespace}.gated.example"
        upstream = mesh.upstream(plain_address())
        mesh.names.point(host, upstream.address)
        servers = {gateway.place: "the gateway", upstream.place: "the host itself, past the gateway"}
        connect = expecting(partial(Application, mesh.pod(caller), host), gateway.place, servers)
        manifests.append(entry(home, host, **spec))
        if by_hand:
            manifests.append(recipe_by_hand(home, host, 80))
        yield Trial(TITLE, GATED, arm, manifests, partial(_work, connect))
        manifests = []


def _egress(gateway: Upstream) -> Iterator[Object]:
    endpoints = [{"address": gateway.address}]
    yield entry(EGRESS, GATEWAY, HTTP, location="MESH_INTERNAL", resolution="STATIC", endpoints=endpoints)
    to_gateway = {"match": [{"gateways": ["mesh"]}], "route": [{"destination": {"host": GATEWAY}}]}
    names = [".", BY_HAND.namespace, TENANT.namespace]
    gateways = ["mesh", "egress/gateway"]
    yield virtual_service(EGRESS, "*.gated.example", to_gateway, name="through", gateways=gateways, exportTo=names)


def _work(connect: Callable[[], Client]) -> Findings:
    return Findings(hammer([connect] * APPLICATIONS, REQUESTS))


def _work_slowly(connect: Callable[[], Client], upstream: Upstream) -> Findings:
    outcomes = Outcomes()
    at_once([partial(outcomes.send, connect(), "GET", f"/{number}") for number in range(APPLICATIONS)])
    return Findings(outcomes, facts={"most": max(upstream.seen.values())})
