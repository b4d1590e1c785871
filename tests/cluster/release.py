"""The chart as it is installed on the cluster, by Helm, with the image that its nodes have."""

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.bed.processes import wait_until
from tests.chart.helm import Helm
from tests.cluster.cluster import Cluster
from tests.cluster.load import entry, host
from tests.cluster.node import Node
from tools.reference.chart import CHART

RELEASE = "serviceentry-guard"
NAMESPACE = "serviceentry-guard"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/serviceentry-guard-controller"
SECONDS = 300.0
"""Longest wait for something that takes a few seconds on an idle machine."""


@dataclass
class Release:
    """One release. Without values it is what the quick start installs."""

    helm: Helm
    cluster: Cluster
    name: str = RELEASE

    def install(self, values: Mapping[str, Any], *arguments: str, chart: Path = CHART) -> float:
        """Install and wait until all pods are ready; the seconds that it took."""
        began = time.monotonic()
        self._write("install", values, *arguments, chart=chart)
        self.wait_until_ready()
        return time.monotonic() - began

    def upgrade(self, values: Mapping[str, Any], chart: Path = CHART) -> None:
        """Upgrade to other values."""
        self._write("upgrade", values, "--install", chart=chart)

    def uninstall(self) -> subprocess.CompletedProcess[str]:
        """Uninstall with the hook; Helm waits for its Job."""
        return self._run("uninstall", self.name, "--wait", "--timeout=180s")

    def uninstall_if_installed(self) -> None:
        """Uninstall what another test may have left."""
        if self.name in self._run("list", "--short").stdout.split():
            self.uninstall()

    def test(self) -> str:
        """What `helm test --logs` prints."""
        return self._run("test", self.name, "--logs", "--timeout=180s").stdout

    def wait_until_ready(self) -> None:
        """Wait until every pod of both Deployments is ready, as they are specified now."""
        wait_until(self.is_ready, "all pods are ready", SECONDS)

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Pods of a component that are not about to end."""
        label = f"--selector=app.kubernetes.io/component={component}"
        found = self.cluster.get("pods", f"--namespace={NAMESPACE}", label)["items"]
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    def leader(self) -> str:
        """The pod that holds the Lease; empty while none does."""
        lease = self.cluster.read(LEASE)
        return str(lease.get("spec", {}).get("holderIdentity") or "").rpartition("_")[0]

    def kill(self, pod: Mapping[str, Any]) -> None:
        """End the pod's container as the kernel does when memory runs out, and wait until it was started again."""
        status = pod["status"]["containerStatuses"][0]
        self.node_of(pod).kill_container(status["containerID"].partition("://")[2])
        name = pod["metadata"]["name"]

        def restarted() -> bool:
            found = self.cluster.read(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}").get("status", {})
            return any(
                one["restartCount"] > status["restartCount"] and one["ready"]
                for one in found.get("containerStatuses", ())
            )

        wait_until(restarted, f"{name} was started again", SECONDS)

    def node_of(self, pod: Mapping[str, Any]) -> Node:
        """The node on which a pod runs."""
        return next(node for node in self.cluster.nodes if node.name.name == pod["spec"]["nodeName"])

    def wait_until_repairing(self) -> set[str]:
        """Wait until a new entry becomes DNS; what entries met until then, as `rehearse` says it.

        Pods are ready before kube-proxy leads the API server to them.
        """
        outcomes = set[str]()

        def repairing() -> bool:
            outcomes.add(self.rehearse())
            return "DNS" in outcomes

        wait_until(repairing, "a new entry becomes DNS", SECONDS)
        return outcomes

    def rehearse(self) -> str:
        """The resolution that an entry would be stored with, or what is said of it."""
        manifest = json.dumps(entry("rehearsed", "team"))
        done = self.cluster.plane.kubectl(
            "create", "--dry-run=server", "--output=json", "--filename=-", stdin=manifest, check=False
        )
        return str(json.loads(done.stdout)["spec"]["resolution"]) if done.returncode == 0 else done.stderr

    def expect_repair(self, name: str, namespace: str) -> float:
        """Create an entry, see it stored as DNS, and wait for its VirtualService; the seconds that took."""
        began = time.monotonic()
        created = self.cluster.kubectl(
            "create", "--output=json", "--filename=-", stdin=json.dumps(entry(name, namespace))
        )
        assert json.loads(created)["spec"]["resolution"] == "DNS"
        wait_until(lambda: self.has_route(name, namespace), f"{name} has a VirtualService", SECONDS)
        return time.monotonic() - began

    def has_route(self, name: str, namespace: str) -> bool:
        """Whether the VirtualService of an entry is there."""
        return bool(
            self.cluster.read(f"/apis/networking.istio.io/v1/namespaces/{namespace}/virtualservices/{host(name)}")
        )

    def is_ready(self) -> bool:
        """Whether all of them are now."""
        items = self.cluster.read(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments").get("items", [])
        return len(items) == 2 and all(map(_is_complete, items))

    def _write(self, verb: str, values: Mapping[str, Any], *arguments: str, chart: Path = CHART) -> None:
        self._run(verb, self.name, chart, "--values=-", *arguments, stdin=yaml.safe_dump(dict(values)))

    def _run(self, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        kubeconfig = self.cluster.plane.kubeconfig
        return self.helm.run(*arguments, f"--namespace={NAMESPACE}", stdin=stdin, kubeconfig=kubeconfig)


def _is_complete(deployment: Mapping[str, Any]) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "readyReplicas", "updatedReplicas")]
    return status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == [wanted] * 3
