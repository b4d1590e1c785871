"""Entries of other shapes, each with an upstream that ends the connection on every fifth request."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from tests.mesh.application import Application, Client, hammer
from tests.mesh.arms import DYNAMIC, OFF, RECIPE, TENANT, Arm
from tests.mesh.grpc_client import GrpcApplication
from tests.mesh.manifests import HTTP, entry, virtual_service
from tests.mesh.mesh import Mesh
from tests.mesh.networks import plain_address
from tests.mesh.scenarios.termination import CUT_EVERY
from tests.mesh.trial import Findings, Trial
from tests.mesh.upstreams import Upstream

TITLE = "7 Other shapes"
PORTS, GRPC_CALLS, WILDCARD = "two HTTP ports", "gRPC", "a wildcard host"
INSIDE, OUTSIDE = (f'`exportTo: ["."]`, called in {where} namespace' for where in ("its own", "another"))
SHARED = '`exportTo: [".", "tenant"]`, called in namespace `tenant`'
THEIRS = "a VirtualService of the team's own, `attempts: 0`"
YIELDING = replace(RECIPE, label="the recipe, which yields to it")
REQUESTS = 100
SECOND_PORT, GRPC_PORT = 8080, 9090
SECOND_HTTP = {"number": SECOND_PORT, "name": "http-second", "protocol": "HTTP"}
GRPC = {"number": GRPC_PORT, "name": "grpc", "protocol": "GRPC"}
Connect = Callable[[], Client]


def trials(mesh: Mesh) -> Iterator[Trial]:
    """Several ports, gRPC, a wildcard, entries for some namespaces only, a VirtualService of the team's own."""
    for arm in (OFF, RECIPE):
        yield _several_ports(mesh, arm)
    for arm in (OFF, RECIPE):
        yield _grpc(mesh, arm)
    for arm in (OFF, DYNAMIC):
        yield _wildcard(mesh, arm)
    yield from _visible(mesh)
    yield _their_own(mesh)


def _several_ports(mesh: Mesh, arm: Arm) -> Trial:
    host, address = f"ports.{arm.namespace}.example", plain_address()
    upstreams = [mesh.upstream(address, port, cut_every=CUT_EVERY) for port in (80, SECOND_PORT)]
    mesh.names.point(host, address)
    connects = [partial(Application, mesh.pod(arm), host, upstream.port) for upstream in upstreams]
    work = partial(_work, connects, upstreams)
    return Trial(TITLE, PORTS, arm, [entry(arm, host, HTTP, SECOND_HTTP)], work)


def _grpc(mesh: Mesh, arm: Arm) -> Trial:
    host = f"grpc.{arm.namespace}.example"
    upstream = mesh.upstream(plain_address(), GRPC_PORT, cut_every=CUT_EVERY, grpc=True)
    mesh.names.point(host, upstream.address)
    work = partial(_work, [partial(GrpcApplication, mesh.pod(arm), host, upstream.port)], [upstream])
    return Trial(TITLE, GRPC_CALLS, arm, [entry(arm, host, GRPC)], work)


def _wildcard(mesh: Mesh, arm: Arm) -> Trial:
    domain = f"wild.{arm.namespace}.example"
    upstreams = [mesh.upstream(plain_address(), cut_every=CUT_EVERY) for _ in "ab"]
    hosts = [f"{label}.{domain}" for label in "ab"]
    for host, upstream in zip(hosts, upstreams, strict=True):
        mesh.names.point(host, upstream.address)
    work = partial(_work, [partial(Application, mesh.pod(arm), host) for host in hosts], upstreams)
    return Trial(TITLE, WILDCARD, arm, [entry(arm, f"*.{domain}")], work)


def _visible(mesh: Mesh) -> Iterator[Trial]:
    """Entries for their own namespace, called there and elsewhere; and for another one that agrees, called there."""
    for label, circumstances, home, seen, caller in (
        ("inside", INSIDE, TENANT, ["."], TENANT),
        ("outside", OUTSIDE, TENANT, ["."], RECIPE),
        ("shared", SHARED, RECIPE, [".", TENANT.namespace], TENANT),
    ):
        host = f"{label}.{home.namespace}.example"
        upstream = mesh.upstream(plain_address(), cut_every=CUT_EVERY)
        mesh.names.point(host, upstream.address)
        work = partial(_work, [partial(Application, mesh.pod(caller), host)], [upstream])
        yield Trial(TITLE, circumstances, home, [entry(home, host, exportTo=seen)], work)


def _their_own(mesh: Mesh) -> Trial:
    arm = YIELDING
    host = f"theirs.{arm.namespace}.example"
    upstream = mesh.upstream(plain_address(), cut_every=CUT_EVERY)
    mesh.names.point(host, upstream.address)
    manifests = [virtual_service(arm, host, {"retries": {"attempts": 0}}), entry(arm, host)]
    work = partial(_work, [partial(Application, mesh.pod(arm), host)], [upstream])
    return Trial(TITLE, THEIRS, arm, manifests, work)


def _work(connects: Sequence[Connect], upstreams: Sequence[Upstream]) -> Findings:
    outcomes = hammer(connects, REQUESTS)
    return Findings(outcomes, facts={f"seen {number}": each.seen.total() for number, each in enumerate(upstreams)})
