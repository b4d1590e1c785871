"""Entries that work without the guard, and that DNS or the recipe would break: with the guard they still work."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from app.kube.client import Object
from tests.mesh.application import Application, Client, Outcomes, at_once, expecting, hammer
from tests.mesh.arms import BY_HAND, OFF, RECIPE, Arm
from tests.mesh.databases import DatabaseClient
from tests.mesh.grpc_client import GrpcApplication
from tests.mesh.grpc_server import Pace
from tests.mesh.manifests import entry, recipe_by_hand
from tests.mesh.mesh import Mesh
from tests.mesh.networks import plain_address
from tests.mesh.scenarios.termination import CUT_EVERY
from tests.mesh.trial import Findings, Trial

TITLE = "8 What worked before"
DATABASES = "two TCP databases on one port"
PORTS = "two entries of one host, HTTP 446 and HTTP 8470, every 5th request is cut"
SIBLINGS = "two entries of one host, TCP 22 and HTTP 80"
ARMS = (OFF, BY_HAND, RECIPE)
REQUESTS, STREAMS = 50, 4
MONGO, SSH, WEB, GRPC = 27017, 22, 80, 9090
FIRST, SECOND = 446, 8470
SPEAKING, THINKING = Pace(first=0, pause=5, seconds=60), Pace(first=3, pause=5, seconds=60)


def stream(pace: Pace) -> str:
    """Say how a gRPC stream goes."""
    return f"a gRPC stream of {pace.seconds:g} s, {pace.pause:g} s between messages, the first after {pace.first:g} s"


def trials(mesh: Mesh) -> Iterator[Trial]:
    """Guard off, DNS and the recipe by hand, and the guard."""
    for arm in ARMS:
        yield _databases(mesh, arm)
    for pace in (SPEAKING, THINKING):
        for arm in ARMS:
            yield _stream(mesh, arm, pace)
    for arm in ARMS:
        yield _ports(mesh, arm)
    for arm in ARMS:
        yield _siblings(mesh, arm)


def _resolution(arm: Arm) -> str:
    return "DNS" if arm is BY_HAND else "NONE"


def _databases(mesh: Mesh, arm: Arm) -> Trial:
    hosts = [f"{label}.mongo.{arm.namespace}.example" for label in ("first", "second")]
    databases = [mesh.database(plain_address(), MONGO) for _ in hosts]
    servers = {database.place: f"the database of {host}" for database, host in zip(databases, hosts, strict=True)}
    connects = list[Callable[[], Client]]()
    for host, database in zip(hosts, databases, strict=True):
        mesh.names.point(host, database.address)
        connect = partial(DatabaseClient, mesh.pod(arm), host, database.port)
        connects.append(expecting(connect, database.place, servers))
    manifests = [entry(arm, host, _port(MONGO, "TCP"), resolution=_resolution(arm)) for host in hosts]
    return Trial(TITLE, DATABASES, arm, manifests, partial(_work, connects))


def _stream(mesh: Mesh, arm: Arm, pace: Pace) -> Trial:
    host = f"stream{pace.first:g}.{arm.namespace}.example"
    upstream = mesh.upstream(plain_address(), GRPC, grpc=True, pace=pace)
    mesh.names.point(host, upstream.address)
    manifests = [entry(arm, host, _port(GRPC, "GRPC"), resolution=_resolution(arm))]
    if arm is BY_HAND:
        manifests.append(recipe_by_hand(arm, host, GRPC))
    work = partial(_listen, partial(GrpcApplication, mesh.pod(arm), host, upstream.port))
    return Trial(TITLE, stream(pace), arm, manifests, work, waits=True)


def _ports(mesh: Mesh, arm: Arm) -> Trial:
    host, address = f"gate.{arm.namespace}.example", plain_address()
    mesh.names.point(host, address)
    upstreams = [mesh.upstream(address, port, cut_every=CUT_EVERY) for port in (FIRST, SECOND)]
    servers = {upstream.place: f"port {upstream.port}" for upstream in upstreams}
    clients = [
        expecting(partial(Application, mesh.pod(arm), host, upstream.port), upstream.place, servers)
        for upstream in upstreams
    ]
    manifests = _pair(arm, host, _port(FIRST, "HTTP"), _port(SECOND, "HTTP"))
    manifests[0]["spec"]["resolution"] = _resolution(arm)
    if arm is BY_HAND:
        manifests.append(recipe_by_hand(arm, host, FIRST))
    return Trial(TITLE, PORTS, arm, manifests, partial(_work, clients))


def _siblings(mesh: Mesh, arm: Arm) -> Trial:
    """The entry of the TCP port is older and keeps resolution NONE, so the other one has to keep it too."""
    host, address = f"pair.{arm.namespace}.example", plain_address()
    mesh.names.point(host, address)
    ssh, web = mesh.database(address, SSH), mesh.upstream(address, WEB)
    servers = {ssh.place: "port 22", web.place: "port 80"}
    clients = [
        expecting(partial(DatabaseClient, mesh.pod(arm), host, ssh.port), ssh.place, servers),
        expecting(partial(Application, mesh.pod(arm), host, web.port), web.place, servers),
    ]
    manifests = _pair(arm, host, _port(SSH, "TCP"), _port(WEB, "HTTP"))
    return Trial(TITLE, SIBLINGS, arm, manifests, partial(_work, clients))


def _pair(arm: Arm, host: str, first: Object, second: Object) -> list[Object]:
    return [
        entry(arm, host, first, name=f"{host}-1"),
        entry(arm, host, second, name=f"{host}-2", resolution=_resolution(arm)),
    ]


def _port(number: int, protocol: str) -> Object:
    return {"number": number, "name": f"{protocol.lower()}-{number}", "protocol": protocol}


def _work(connects: Sequence[Callable[[], Client]]) -> Findings:
    outcomes = hammer(connects, REQUESTS)
    misled = sum(one.error.startswith("answered by") for one in outcomes.errors)
    return Findings(outcomes, facts={"misled": misled})


def _listen(connect: Callable[[], Client]) -> Findings:
    outcomes = Outcomes()
    at_once([partial(outcomes.send, connect(), "POST", f"/{number}") for number in range(STREAMS)])
    return Findings(outcomes, facts={"shortest": min(one.seconds for one in outcomes.all)})
