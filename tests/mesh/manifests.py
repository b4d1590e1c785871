"""What people write into the mesh: raw ServiceEntries, as before there was a guard; and what an operator lays out."""

from collections.abc import Iterable
from typing import Any

from app.core.policy.model import API_VERSION, KIND
from app.core.resources.service_entry import GATEWAY_GROUP
from app.kube.client import Object
from app.kube.resources import HTTP_ROUTES, Resource
from tests.e2e.team import DESTINATION_RULES, ISTIO, SERVICE_ENTRIES, VIRTUAL_SERVICES
from tests.mesh.arms import Arm

SIDECARS = Resource(ISTIO, "v1", "sidecars", "Sidecar")
PEER_AUTHENTICATIONS = Resource("security.istio.io", "v1", "peerauthentications", "PeerAuthentication")
ENVOY_FILTERS = Resource(ISTIO, "v1alpha3", "envoyfilters", "EnvoyFilter")
GATEWAY_CLASSES = Resource(GATEWAY_GROUP, "v1", "gatewayclasses", "GatewayClass", namespaced=False)
ISTIO_GATEWAYS = Resource(ISTIO, "v1", "gateways", "Gateway")
GATEWAYS = Resource(GATEWAY_GROUP, "v1", "gateways", "Gateway")
SERVICES = Resource("", "v1", "services", "Service")
RESOURCES = {
    each.kind: each
    for each in (
        SERVICE_ENTRIES, VIRTUAL_SERVICES, DESTINATION_RULES, SIDECARS, PEER_AUTHENTICATIONS, ENVOY_FILTERS,
        GATEWAY_CLASSES, GATEWAYS, HTTP_ROUTES, SERVICES,
    )
}  # fmt: skip
ROOT_NAMESPACE = "istio-system"
HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
TLS = {"number": 443, "name": "tls", "protocol": "TLS"}


def entry(
    arm: Arm,
    host: str,
    *ports: dict[str, Any],
    name: str = "",
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> Object:
    """A raw ServiceEntry named after its host: port 80/HTTP unless others are given, resolution NONE."""
    return {
        "apiVersion": f"{ISTIO}/v1",
        "kind": "ServiceEntry",
        "metadata": {
            "name": name or host.replace("*", "wildcard"),
            "namespace": arm.namespace,
            "annotations": {f"serviceentry-guard.io/{name}": value for name, value in (annotations or {}).items()},
        },
        "spec": {
            "hosts": [host],
            "location": "MESH_EXTERNAL",
            "ports": list(ports) or [HTTP],
            "resolution": "NONE",
            **spec,
        },
    }


def virtual_service(arm: Arm, host: str, *routes: Object, name: str = "theirs", **spec: Any) -> Object:
    """A VirtualService as a team writes it; a route leads to the host unless it says otherwise."""
    to_host = {"route": [{"destination": {"host": host}}]}
    return {
        "apiVersion": f"{ISTIO}/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": arm.namespace},
        "spec": {"hosts": [host], "http": [{**to_host, **route} for route in routes], **spec},
    }


def recipe_by_hand(arm: Arm, host: str, port: int, timeout: str = "30s", attempts: int = 3) -> Object:
    """The recipe for a host, as one writes it who does not look at the protocol, other ports or neighbours."""
    route = [{"destination": {"host": host, "port": {"number": port}}, "weight": 100}]
    conditions = "gateway-error,connect-failure,refused-stream,5xx"
    retries = {"attempts": attempts, "perTryTimeout": "2s", "retryOn": conditions} if attempts else {"attempts": 0}
    return virtual_service(arm, host, {"route": route, "timeout": timeout, "retries": retries}, name=host)


def marker(arm: Arm, host: str) -> tuple[Object, Object, Object]:
    """An object of each kind that sidecars act on, by which one sees that they know all that is older."""
    rule = {
        "apiVersion": f"{ISTIO}/v1",
        "kind": "DestinationRule",
        "metadata": {"name": host, "namespace": arm.namespace},
        "spec": {"host": host, "trafficPolicy": {"connectionPool": {"http": {"idleTimeout": "31s"}}}},
    }
    return entry(arm, host, resolution="DNS"), virtual_service(arm, host, {"timeout": "29s"}), rule


def sidecar_resource(namespace: str, imported: Iterable[str], own: str = "./*") -> Object:
    """What a namespace's sidecars know: its own hosts and these of others, and not the API server's own Service."""
    hosts = [*([own] if own else []), *imported]
    return {
        "apiVersion": f"{ISTIO}/v1",
        "kind": "Sidecar",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": {"egress": [{"hosts": hosts}]},
    }


def no_mutual_tls() -> Object:
    """Has sidecars take plain connections: there is no authority for workload certificates here."""
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": ROOT_NAMESPACE},
        "spec": {"mtls": {"mode": "DISABLE"}},
    }


def guard_policy(sections: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A policy that is another one in each of these namespaces."""
    namespaces = [{"match": [namespace], **policy} for namespace, policy in sections]
    return {"apiVersion": API_VERSION, "kind": KIND, "namespaces": namespaces}
