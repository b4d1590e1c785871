"""istiod outside a cluster: Istio's own control plane, reading the API server of the test run."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.bed.ports import free_ports
from tests.bed.processes import Child
from tests.mesh.networks import HERE

DNS_REFRESH = "5s"
"""How often Envoy asks again for names whose answer may not be remembered (TTL 0); Istio's default is 60s."""
ENVIRONMENT = {
    # No certificates, no injection, no validation: nobody calls this istiod but sidecars without encryption.
    "PILOT_CERT_PROVIDER": "none",
    "ENABLE_CA_SERVER": "false",
    "INJECTION_WEBHOOK_CONFIG_NAME": "",
    "VALIDATION_WEBHOOK_CONFIG_NAME": "",
    # A stock Envoy lacks the filters of Istio's own build.
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_ENABLE_TELEMETRY_LABEL": "false",
}
MESH_CONFIG: Mapping[str, Any] = {"rootNamespace": "istio-system", "dnsRefreshRate": DNS_REFRESH}


AMBIENT = {
    "PILOT_ENABLE_AMBIENT": "true",
    # The test makes the Pods of waypoints, and says in the status of their Gateways where they are.
    "PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER": "false",
    "PILOT_ENABLE_GATEWAY_API_STATUS": "false",
}
"""What an ambient mesh needs besides."""


class Istiod:
    """`pilot-discovery discovery`, which proxies reach at `port` of HERE."""

    def __init__(self, program: Path, kubeconfig: Path, folder: Path, *, ambient: bool = False) -> None:
        self.port, self._http_port, monitoring = free_ports(3)
        (folder / "mesh.yaml").write_text(yaml.safe_dump(dict(MESH_CONFIG)))
        (folder / "networks.yaml").write_text("networks: {}\n")
        environment = {
            **os.environ,
            **ENVIRONMENT,
            **(AMBIENT if ambient else {}),
            "POD_NAMESPACE": "istio-system",
            "POD_NAME": "istiod",
        }
        self.child = Child(
            program, "discovery", f"--kubeconfig={kubeconfig}", f"--meshConfig={folder / 'mesh.yaml'}",
            f"--networksConfig={folder / 'networks.yaml'}", "--registries=Kubernetes",
            f"--grpcAddr={HERE}:{self.port}", f"--httpAddr=127.0.0.1:{self._http_port}",
            f"--monitoringAddr=127.0.0.1:{monitoring}", "--secureGRPCAddr=", "--httpsAddr=", "--ctrlz_port=0",
            log=folder / "istiod.log", env=environment,
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        """Wait until it has read everything. Raises BedError with the end of its log if it does not."""
        self.child.wait_until_answering(f"http://127.0.0.1:{self._http_port}/ready", seconds=90)
