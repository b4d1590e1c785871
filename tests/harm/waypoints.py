"""Waypoints of an ambient mesh: their objects, and what istiod gives them for the entries that they serve."""

from collections.abc import Sequence

from tests.harm.generator import Generator
from tests.harm.protocol import Description, Manifest, Proxy, Request, Route

NAME = "waypoint"
GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
GATEWAY_API = "gateway.networking.k8s.io/v1"
ADDRESS = "10.250.1.{}"


def bound(namespace: str = "") -> dict[str, str]:
    """Labels that bind an entry, or those of a namespace, to the waypoint of a namespace; "": of its own."""
    named = {"istio.io/use-waypoint-namespace": namespace} if namespace else {}
    return {"istio.io/use-waypoint": NAME, **named}


def space(name: str, **labels: str) -> Manifest:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def waypoint(namespace: str, number: int = 1) -> list[Manifest]:
    """A waypoint that admits every namespace, as istiod sees it: its Gateway, its Service, and its only Pod."""
    listener = {"name": "mesh", "port": 15008, "protocol": "HBONE", "allowedRoutes": {"namespaces": {"from": "All"}}}
    host = {"type": "Hostname", "value": f"{NAME}.{namespace}.svc.cluster.local"}
    labels = {GATEWAY_NAME: NAME}
    port = {"name": "mesh", "port": 15008, "appProtocol": "hbone"}
    return [
        {
            **_named(GATEWAY_API, "Gateway", namespace),
            "spec": {"gatewayClassName": "istio-waypoint", "listeners": [listener]},
            "status": {"addresses": [host]},
        },
        {
            **_named("v1", "Service", namespace),
            "spec": {"clusterIP": f"10.96.0.{number}", "ports": [port], "selector": labels},
        },
        {
            **_named("networking.istio.io/v1", "WorkloadEntry", namespace),
            "spec": {"address": ADDRESS.format(number), "labels": labels},
        },
    ]


GATEWAY_CLASS: Manifest = {
    "apiVersion": GATEWAY_API,
    "kind": "GatewayClass",
    "metadata": {"name": "istio-waypoint"},
    "spec": {"controllerName": "istio.io/mesh-controller"},
}


def proxy(namespace: str, number: int = 1) -> Proxy:
    """The Pod of the waypoint of a namespace."""
    return Proxy(namespace=namespace, type="waypoint", ip=ADDRESS.format(number), labels={GATEWAY_NAME: NAME})


def ask(generator: Generator, manifests: Sequence[Manifest], *proxies: Proxy) -> tuple[Description, ...]:
    """Return what istiod gives each proxy. The generator has to know ambient meshes."""
    request = Request(manifests=[*manifests, GATEWAY_CLASS], proxies=list(proxies), allocate=True)
    (answer,) = generator.ask(request)
    assert answer.rejected == ()
    return answer.proxies


def routes_of(waypoint: Description, host: str, port: int = 80) -> tuple[Route, ...]:
    """Return the HTTP routes that a waypoint has for a host and port."""
    (found,) = waypoint.routes[f"inbound-vip|{port}|http|{host}"]
    return found.routes


def _named(version: str, kind: str, namespace: str) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": NAME, "namespace": namespace}}
