"""A stock Envoy as the sidecar of a namespace, configured by istiod."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.bed.binaries import envoy_program
from tests.bed.processes import Child, free_port
from tests.mesh import secrets
from tests.mesh.networks import SIDECAR_GROUP

ISTIOD = "istiod"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
CONFIGURED_SECONDS = 90.0


class Sidecar:
    """One Envoy. With `intercepts` it takes what iptables redirects; else it listens on 127.0.0.1, a port per service.

    It runs in a group of its own, by which iptables knows what the sidecar itself sends.
    """

    def __init__(self, namespace: str, istiod_port: int, secrets_port: int, folder: Path, *, intercepts: bool) -> None:
        self._admin = free_port()
        self._servers = {ISTIOD: istiod_port, secrets.CLUSTER: secrets_port}
        bootstrap = self._bootstrap(namespace, "REDIRECT" if intercepts else "NONE")
        self.child = Child(
            "setpriv", f"--regid={SIDECAR_GROUP}", "--clear-groups", envoy_program(), "--concurrency", "1",
            "--use-dynamic-base-id", "--log-level", "warning", "--config-yaml", json.dumps(bootstrap),
            log=folder / f"envoy-{namespace}.log",
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        """Wait until it has its first configuration. Raises BedError with the end of its log if it does not."""
        self.child.wait_until_answering(f"http://127.0.0.1:{self._admin}/ready", seconds=CONFIGURED_SECONDS)

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
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}{path}", timeout=10) as response:
            return str(response.read().decode())

    def _bootstrap(self, namespace: str, interception: str) -> dict[str, Any]:
        source = {"ads": {}, "resource_api_version": "V3"}
        istiod = {"envoy_grpc": {"cluster_name": ISTIOD}}
        return {
            "node": {
                "id": f"sidecar~192.0.2.1~application.{namespace}~{namespace}.svc.cluster.local",
                "cluster": f"application.{namespace}",
                "metadata": {"NAMESPACE": namespace, "CLUSTER_ID": "Kubernetes", "INTERCEPTION_MODE": interception},
            },
            "admin": {"address": _address(self._admin)},
            "dynamic_resources": {
                "ads_config": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [istiod]},
                "cds_config": source,
                "lds_config": source,
            },
            "static_resources": {"clusters": [_cluster(name, port) for name, port in self._servers.items()]},
        }


def _cluster(name: str, port: int) -> dict[str, Any]:
    """One that speaks HTTP/2 to a port of 127.0.0.1."""
    h2 = {"@type": f"type.googleapis.com/{HTTP_OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {HTTP_OPTIONS: h2},
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
