"""What people write into the mesh: raw ServiceEntries, as before there was a guard; and what an operator lays out."""

from collections.abc import Iterable
from typing import Any

from app.core.policy import API_VERSION, KIND
from app.kube.client import Object
from app.kube.resources import Resource
from tests.e2e.team import DESTINATION_RULES, ISTIO, SERVICE_ENTRIES, VIRTUAL_SERVICES
from tests.mesh.arms import Arm

SIDECARS = Resource(ISTIO, "v1", "sidecars", "Sidecar")
PEER_AUTHENTICATIONS = Resource("security.istio.io", "v1", "peerauthentications", "PeerAuthentication")
RESOURCES = {
    each.kind: each for each in (SERVICE_ENTRIES, VIRTUAL_SERVICES, DESTINATION_RULES, SIDECARS, PEER_AUTHENTICATIONS)
}
ROOT_NAMESPACE = "istio-system"
HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
TLS = {"number": 443, "name": "tls", "protocol": "TLS"}


def entry(
    arm: Arm, host: str, *ports: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any
) -> Object:
    """A raw ServiceEntry named after its host: port 80/HTTP unless others are given, resolution NONE."""
    return {
        "apiVersion": f"{ISTIO}/v1",
        "kind": "ServiceEntry",
        "metadata": {
            "name": host.replace("*", "wildcard"),
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


def virtual_service(arm: Arm, host: str, **route: Any) -> Object:
    """A VirtualService as a team writes it."""
    return {
        "apiVersion": f"{ISTIO}/v1",
        "kind": "VirtualService",
        "metadata": {"name": "theirs", "namespace": arm.namespace},
        "spec": {"hosts": [host], "http": [{"route": [{"destination": {"host": host}}], **route}]},
    }


def sidecar(namespace: str, imported: Iterable[str]) -> Object:
    """What a namespace's sidecars know: the hosts of these namespaces, and not the API server's own Service."""
    return {
        "apiVersion": f"{ISTIO}/v1",
        "kind": "Sidecar",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": {"egress": [{"hosts": [f"{each}/*" for each in imported]}]},
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
