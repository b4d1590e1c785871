"""A stock Envoy as the sidecar of a namespace, configured by istiod."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.bed.binaries import envoy_program
from tests.bed.processes import Child
from tests.mesh import secrets
from tests.mesh.networks import HERE, SIDECAR_GROUP, Pod

ISTIOD = "istiod"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
CONFIGURED_SECONDS = 90.0
ADMIN_PORT = 15000
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Past any proxy of the environment."""


class Sidecar:
    """One Envoy, which takes what is redirected in its pod.

    It runs in a group of its own, by which iptables knows what the sidecar itself sends.
    """

    def __init__(self, pod: Pod, namespace: str, istiod_port: int, secrets_port: int, folder: Path) -> None:
        self.pod = pod
        self._servers = {ISTIOD: istiod_port, secrets.CLUSTER: secrets_port}
        # Whoever changes its group loses the signal that a child of ours gets when we end: it is set again.
        group = (f"--regid={SIDECAR_GROUP}", "--clear-groups", "--pdeathsig=KILL")
        self.child = Child(
            *pod.entrance, "setpriv", *group, envoy_program(), "--concurrency", "1",
            "--use-dynamic-base-id", "--log-level", "warning", "--config-yaml", json.dumps(self._bootstrap(namespace)),
            log=folder / f"{self._name}-{namespace}.log",
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        """Wait until it has its first configuration. Raises BedError with the end of its log if it does not."""
        self.child.wait_until_answering(f"{self._administration}/ready", seconds=CONFIGURED_SECONDS)

    def wait_for(self, what: str, *fragments: str) -> None:
        """Wait until every one of these is part of its configuration."""
        self.child.wait_until(
            lambda: all(fragment in self.configuration() for fragment in fragments), what, CONFIGURED_SECONDS
        )

    def configuration(self) -> str:
        """All that it is configured with, as JSON on one line."""
        return json.dumps(json.loads(self.ask("/config_dump")), separators=(",", ":"))

    def ask(self, path: str) -> str:
        """Ask its administration."""
        with DIRECTLY.open(f"{self._administration}{path}", timeout=10) as response:
            return str(response.read().decode())

    @property
    def _name(self) -> str:
        return "envoy"

    def _admin(self) -> dict[str, Any]:
        return {"address": address(self.pod.address, ADMIN_PORT)}

    @property
    def _administration(self) -> str:
        return f"http://{self.pod.address}:{ADMIN_PORT}"

    def _bootstrap(self, namespace: str) -> dict[str, Any]:
        source = {"ads": {}, "resource_api_version": "V3"}
        istiod = {"envoy_grpc": {"cluster_name": ISTIOD}}
        kind = "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
        return {
            # An ambient mesh gives sidecars listeners that only they themselves connect to.
            "bootstrap_extensions": [{"name": "envoy.bootstrap.internal_listener", "typed_config": {"@type": kind}}],
            "node": {
                "id": f"sidecar~{self.pod.address}~application.{namespace}~{namespace}.svc.cluster.local",
                "cluster": f"application.{namespace}",
                "metadata": {"NAMESPACE": namespace, "CLUSTER_ID": "Kubernetes", "INTERCEPTION_MODE": "REDIRECT"},
            },
            "admin": self._admin(),
            "dynamic_resources": {
                "ads_config": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [istiod]},
                "cds_config": source,
                "lds_config": source,
            },
            "static_resources": {"clusters": [_cluster(name, port) for name, port in self._servers.items()]},
        }


def http2() -> dict[str, Any]:
    """Options of a cluster that speaks HTTP/2."""
    return {"@type": f"type.googleapis.com/{HTTP_OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}


def _cluster(name: str, port: int) -> dict[str, Any]:
    """One that speaks HTTP/2 to a port outside of the pod."""
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(HERE, port)}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {HTTP_OPTIONS: http2()},
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def address(host: str, port: int) -> dict[str, Any]:
    """A socket's address, as Envoy writes it."""
    return {"socket_address": {"address": host, "port_value": port}}
