"""Istio as it is installed on the cluster: istiod as a Deployment, and sidecars that its webhook injects into pods.

The manifests are those of istioctl. The image of the sidecar has a stock Envoy; what only Istio's own build of Envoy
knows is switched off, as in tests/mesh.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.bed.binaries import envoy_program
from tests.bed.errors import BedError
from tests.bed.processes import wait_until
from tests.cluster.archives import libraries, write_image
from tests.cluster.cluster import Cluster
from tests.cluster.release import SECONDS
from tests.documents import documents
from tests.image.base import search_path

NAMESPACE = "istio-system"
LABEL = "istio-injection"
"""Namespaces that have it are those that istiod reads, and into whose pods it injects sidecars."""
HUB, TAG = "localhost", "bed"
USER = "1337:1337"
CRD = "CustomResourceDefinition"
OPTIONS: Mapping[str, Any] = {
    "hub": HUB,
    "tag": TAG,
    "meshConfig": {
        "accessLogFile": "/dev/stdout",
        "discoverySelectors": [{"matchLabels": {LABEL: "enabled"}}],
    },
    "components": {"ingressGateways": [{"name": "istio-ingressgateway", "enabled": False}]},
    "values": {
        "global": {
            "imagePullPolicy": "Never",
            "nativeNftables": True,
            "proxy": {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}},
        },
        "pilot": {
            "autoscaleEnabled": False,
            "nodeSelector": {"kubernetes.io/hostname": "node-1"},
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
            # A stock Envoy lacks the filters of Istio's own build.
            "env": {
                "PILOT_ENABLE_METADATA_EXCHANGE": "false",
                "PILOT_ENABLE_ALPN_FILTER": "false",
                "PILOT_ENABLE_TELEMETRY_LABEL": "false",
            },
        },
        "telemetry": {"enabled": False},
    },
}
"""How Istio is installed; all else is its default."""


def complaint() -> str | None:
    """Why no sidecar can run here, and what to do about it; None if one can."""
    try:
        envoy_program()
    except BedError as error:
        return str(error)
    return None


def archives(programs: Mapping[str, Path], folder: Path) -> Iterator[Path]:
    """The images of istiod and of sidecars as OCI archives in `folder`."""
    istiod, agent, bootstrap = (programs[name] for name in ("pilot-discovery", "pilot-agent", "envoy_bootstrap.json"))
    yield write_image(folder / "pilot.tar", {"/usr/local/bin/pilot-discovery": istiod}, f"{HUB}/pilot:{TAG}", USER)
    nft = Path(str(shutil.which("nft", path=search_path())))
    files = {
        "/usr/local/bin/pilot-agent": agent,
        "/usr/local/bin/envoy": envoy_program(),
        "/usr/sbin/nft": nft,
        "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json": bootstrap,
        **libraries([envoy_program(), nft]),
    }
    yield write_image(folder / "proxyv2.tar", files, f"{HUB}/proxyv2:{TAG}")


def install(cluster: Cluster, istioctl: Path) -> None:
    """Apply what istioctl generates, less the definitions that the cluster has, and wait until istiod is ready."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    cluster.apply(*(each for each in generated(istioctl) if each["kind"] != CRD))
    wait_until(lambda: _is_ready(cluster), "istiod is ready", SECONDS)


def uninstall(cluster: Cluster, istioctl: Path) -> None:
    """Delete what `install` applied, and the namespace; nothing waits until all of it is gone."""
    items = [each for each in generated(istioctl) if each["kind"] != CRD]
    manifest = yaml.safe_dump_all([*items, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "--filename=-", stdin=manifest)


def generated(istioctl: Path) -> list[dict[str, Any]]:
    """All objects that `istioctl manifest generate` prints."""
    operator = {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": OPTIONS}
    command: list[str | Path] = [istioctl, "manifest", "generate", "--filename=-"]
    done = subprocess.run(command, input=yaml.safe_dump(operator), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BedError(f"istioctl manifest generate ended with code {done.returncode}: {done.stderr.strip()}")
    return documents(done.stdout)


def _is_ready(cluster: Cluster) -> bool:
    found = cluster.read(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/istiod")
    return bool(found.get("status", {}).get("readyReplicas"))
