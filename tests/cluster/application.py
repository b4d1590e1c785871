"""An application in a pod of the mesh, which calls a host outside at a steady rate on a connection that it keeps."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bed.processes import wait_until
from tests.cluster.cluster import Cluster
from tests.cluster.image import NAME as IMAGE
from tests.cluster.image import tag
from tests.cluster.istio import LABEL
from tests.cluster.outside import HOST
from tests.cluster.release import SECONDS

NAMESPACE, NAME = "shop", "checkout"
RATE = 20
SCRIPT = f"""
import http.client, json, time

connection = http.client.HTTPConnection("{HOST}", timeout=10)
number = 0
while True:
    due = time.time() + 1 / {RATE}
    try:
        connection.request("GET", f"/{{number}}")
        response = connection.getresponse()
        status, text = response.status, response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        status, text = 0, f"{{type(error).__name__}}: {{error}}"
    print(json.dumps([number, status, text]), flush=True)
    number += 1
    time.sleep(max(0.0, due - time.time()))
"""
"""It retries nothing, and looks the name up only when it has to connect anew."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the application: its number, the status, and the body or what went wrong."""

    number: int
    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one time, one after the other."""

    all: Sequence[Call]

    @property
    def failed(self) -> list[Call]:
        """Those that were not answered by the host."""
        return [one for one in self.all if one.status != 200]

    @property
    def message(self) -> str:
        """What was said most often of failures."""
        said = Counter(f"{one.status} {one.text}" for one in self.failed)
        return said.most_common(1)[0][0] if said else ""


class Application:
    """The pod of a Deployment. `calls` counts what its log has of it so far."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def deploy(self) -> None:
        """Create the Deployment, and wait until its pod is ready."""
        self._cluster.apply(_deployment())
        wait_until(self._is_ready, "the application is ready", SECONDS)

    def containers(self) -> list[str]:
        """Names of all containers of its pod, of those that start first too."""
        spec = self._pod()["spec"]
        return [one["name"] for one in (*spec.get("initContainers", ()), *spec["containers"])]

    def calls(self) -> list[Call]:
        """All calls so far."""
        lines = self._cluster.kubectl("logs", f"deployment/{NAME}", f"--namespace={NAMESPACE}", f"--container={NAME}")
        return [Call(*json.loads(line)) for line in lines.splitlines()]

    def sidecar(self, path: str) -> str:
        """What the sidecar's administration answers."""
        command = ("exec", f"deployment/{NAME}", f"--namespace={NAMESPACE}", "--container=istio-proxy", "--")
        return self._cluster.kubectl(*command, "pilot-agent", "request", "GET", path)

    def _pod(self) -> dict[str, Any]:
        (pod,) = self._cluster.get("pods", f"--namespace={NAMESPACE}")["items"]
        return dict(pod)

    def _is_ready(self) -> bool:
        found = self._cluster.read(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}")
        return bool(found.get("status", {}).get("readyReplicas"))


def team() -> dict[str, Any]:
    """The application's namespace, into whose pods sidecars are injected."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {LABEL: "enabled"}}}


def _deployment() -> dict[str, Any]:
    labels = {"app": NAME}
    container = {
        "name": NAME,
        # Nodes have no other image with Python.
        "image": f"docker.io/library/{IMAGE}:{tag()}",
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", SCRIPT],
    }
    spec = {
        "containers": [container],
        "nodeSelector": {"kubernetes.io/hostname": "node-1"},
        "terminationGracePeriodSeconds": 1,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
