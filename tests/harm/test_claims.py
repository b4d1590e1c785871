"""Which objects of others route a host for sidecars: Istio's answer and the guard's, row by row.

The guard yields to what routes the host where its own VirtualService would be seen, and to nothing else.
"""

from typing import Any

import pytest

from app.core.policy.model import default_policy
from tests.harm.envoy import Call, Side, Speech
from tests.harm.generator import Generator
from tests.harm.guarded import change
from tests.harm.protocol import Manifest, Proxy, Request, Route
from tests.harm.test_rule import HOST, HTTP, entry, made, resolved
from tests.harm.trial import harms_in_every_world

AWAY = [{"destination": {"host": "egress.example.net", "port": {"number": 80}}}]
EGRESS = made(
    "ServiceEntry",
    "egress",
    "team",
    hosts=["egress.example.net"],
    location="MESH_INTERNAL",
    ports=[HTTP],
    resolution="STATIC",
    endpoints=[{"address": "10.9.9.9"}],
)
OURS = resolved(entry(HTTP))


def others(namespace: str = "team", name: str = "others", **spec: Any) -> Manifest:
    return made("VirtualService", name, namespace, **{"hosts": [HOST], "http": [{"route": AWAY}], **spec})


def http_route(namespace: str = "team", parent: str = "api") -> Manifest:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "route", "namespace": namespace},
        "spec": {
            "parentRefs": [{"group": "networking.istio.io", "kind": "ServiceEntry", "name": parent}],
            "rules": [
                {
                    "backendRefs": [
                        {"group": "networking.istio.io", "kind": "Hostname", "name": "egress.example.net", "port": 80}
                    ]
                }
            ],
        },
    }


TLS_ROUTE = [{"match": [{"port": 443, "sniHosts": [HOST]}], "route": AWAY}]
ROWS: dict[str, tuple[Manifest, bool]] = {
    "HTTP routes for the mesh": (others(), True),
    "HTTP routes for the mesh by name": (others(gateways=["mesh"]), True),
    "HTTP routes for the mesh and a gateway": (others(gateways=["mesh", "a/b"]), True),
    "HTTP routes of which one is for the mesh": (
        others(gateways=["mesh", "a/b"], http=[{"match": [{"gateways": ["mesh"]}], "route": AWAY}]),
        True,
    ),
    "HTTP routes for a gateway": (others(gateways=["a/b"]), False),
    "a wildcard": (others(hosts=["*.example.com"]), True),
    "another wildcard": (others(hosts=["*.example.org"]), False),
    "a wildcard for everything, which Istio rejects": (others(hosts=["*"]), False),
    "another spelling": (others(hosts=["API.example.com"]), True),
    "TLS routes": (others(http=None, tls=TLS_ROUTE), False),
    "TCP routes": (others(http=None, tcp=[{"route": AWAY}]), False),
    "TLS and HTTP routes": (others(tls=TLS_ROUTE), True),
    "a delegate": (others(hosts=None), False),
    "a redirect": (others(http=[{"redirect": {"authority": "new.example.com"}}]), True),
    "routes that are private to another namespace": (others("elsewhere", exportTo=["."]), False),
    "routes that are public, of another namespace": (others("elsewhere"), True),
    "routes that are exported to the namespace": (others("elsewhere", exportTo=["team"]), True),
    "routes that are exported to no one, which Istio rejects": (others(exportTo=["~"]), False),
    "an HTTPRoute on the entry": (http_route(), True),
    "an HTTPRoute on an entry that is not there": (http_route(parent="gone"), False),
    "an HTTPRoute on an entry of another namespace": (http_route("elsewhere"), False),
}


def _manifest(row: str) -> Manifest:
    manifest, _ = ROWS[row]
    spec = {name: value for name, value in manifest["spec"].items() if value is not None}
    return {**manifest, "spec": spec}


def _routes(generator: Generator, *objects: Manifest) -> tuple[Route, ...]:
    (answer,) = generator.ask(Request(manifests=[OURS, EGRESS, *objects], proxies=[Proxy(namespace="team")]))
    found = Side.of(answer.proxies[0], Call(80, Speech.HTTP, HOST)).virtual_host
    return found.routes if found else ()


@pytest.mark.parametrize("row", ROWS)
def test_istio_lets_it_route_the_host_as_the_table_says(generator: Generator, row: str) -> None:
    routes = _routes(generator, _manifest(row))
    assert (routes != _routes(generator)) is ROWS[row][1]


@pytest.mark.parametrize("row", ROWS)
def test_the_guard_yields_as_the_table_says(row: str) -> None:
    emitted = change([OURS, EGRESS, _manifest(row)], default_policy()).emitted
    assert [one["spec"]["hosts"] for one in emitted] == ([] if ROWS[row][1] else [[HOST]])


@pytest.mark.parametrize("row", ROWS)
def test_the_emitted_routes_bypass_no_claim_of_the_table(generator: Generator, row: str) -> None:
    assert harms_in_every_world(generator, [OURS, EGRESS, _manifest(row)], default_policy()) == []
