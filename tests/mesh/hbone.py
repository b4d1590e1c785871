"""The two proxies of an ambient mesh, both stock Envoys: a waypoint that istiod configures, and one for ztunnel.

The application's connection comes to the waypoint as a CONNECT request over HTTP/2 and mutual TLS (HBONE). The real
ztunnel is not here: what it does for an application is to tunnel what goes to an allocated address.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bed.pki import Authority, KeyPair
from tests.mesh.networks import ALLOCATED_NET, OUTBOUND_PORT, Pod
from tests.mesh.sidecar import HTTP_OPTIONS, Sidecar, address, http2

PORT = 15008
WAYPOINT = "waypoint"
GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
ISTIO_VERSION = "1.29.0"
"""A newer proxy is given filters that only Istio's own build has."""
TYPES = "type.googleapis.com/envoy.extensions"


def identity(namespace: str, account: str) -> str:
    """The SPIFFE identity of a workload."""
    return f"spiffe://cluster.local/ns/{namespace}/sa/{account}"


class Waypoint(Sidecar):
    """The waypoint of a namespace, in a Pod of its own."""

    kind = WAYPOINT
    labels: Mapping[str, str] = {GATEWAY_NAME: WAYPOINT}

    def __init__(self, namespace: str, istiod_port: int, secrets_port: int, folder: Path) -> None:
        super().__init__(Pod(f"{self.kind}-{namespace}"), namespace, istiod_port, secrets_port, folder)

    def _bootstrap(self, namespace: str) -> dict[str, Any]:
        name = f"{self.kind}-1.{namespace}"
        metadata = {
            "NAMESPACE": namespace,
            "CLUSTER_ID": "Kubernetes",
            "ISTIO_VERSION": ISTIO_VERSION,
            "LABELS": dict(self.labels),
        }
        node = {
            "id": f"{self.kind}~{self.pod.address}~{name}~{namespace}.svc.cluster.local",
            "cluster": name,
            "metadata": metadata,
        }
        return {**super()._bootstrap(namespace), "node": node}

    @property
    def _name(self) -> str:
        return self.kind


class Egress(Waypoint):
    """An egress gateway, in a Pod of its own: a proxy of type router."""

    kind = "router"
    labels: Mapping[str, str] = {"istio": "egressgateway"}


class Ztunnel(Sidecar):
    """What stands for ztunnel beside the application of a namespace: it knows one waypoint, and no istiod."""

    def __init__(self, namespace: str, waypoint: str, authority: Authority, folder: Path) -> None:
        self._waypoint = waypoint
        self._authority = authority.certificate
        self._pair = authority.workload(identity(namespace, "application"))
        super().__init__(Pod(namespace), namespace, 0, 0, folder)

    def _bootstrap(self, namespace: str) -> dict[str, Any]:
        del namespace
        prefix, _, length = ALLOCATED_NET.partition("/")
        ranges = [{"address_prefix": prefix, "prefix_len": int(length)}]
        tunnel = {"hostname": "%DOWNSTREAM_LOCAL_ADDRESS%"}
        original = f"{TYPES}.filters.listener.original_dst.v3.OriginalDst"
        outbound = {
            "name": "outbound",
            "address": address("0.0.0.0", OUTBOUND_PORT),  # noqa: S104 - of a network of its own
            "listener_filters": [{"name": "original_dst", "typed_config": {"@type": original}}],
            "filter_chains": [
                {"filter_chain_match": {"prefix_ranges": ranges}, **_tcp(WAYPOINT, tunneling_config=tunnel)}
            ],
            "default_filter_chain": _tcp("passthrough"),
        }
        passthrough = {"name": "passthrough", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
        clusters = [passthrough, self._to_waypoint()]
        return {
            "admin": self._admin(),
            "static_resources": {"listeners": [outbound], "clusters": clusters},
        }

    @property
    def _name(self) -> str:
        return "ztunnel"

    def _to_waypoint(self) -> dict[str, Any]:
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(self._waypoint, PORT)}}]}]
        return {
            "name": WAYPOINT,
            "type": "STATIC",
            "typed_extension_protocol_options": {HTTP_OPTIONS: http2()},
            "transport_socket": _mutual_tls(self._pair, self._authority),
            "load_assignment": {"cluster_name": WAYPOINT, "endpoints": endpoints},
        }


def _mutual_tls(pair: KeyPair, authority: bytes) -> dict[str, Any]:
    held = {"certificate_chain": _inline(pair.certificate), "private_key": _inline(pair.private_key)}
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["h2"],
        "tls_certificates": [held],
        "validation_context": {"trusted_ca": _inline(authority)},
    }
    kind = f"{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext"
    return {"name": "tls", "typed_config": {"@type": kind, "common_tls_context": common}}


def _inline(pem: bytes) -> dict[str, str]:
    return {"inline_string": pem.decode()}


def _tcp(cluster: str, **more: Any) -> dict[str, Any]:
    kind = f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy"
    proxy = {"@type": kind, "stat_prefix": cluster, "cluster": cluster, **more}
    return {"filters": [{"name": "tcp_proxy", "typed_config": proxy}]}
