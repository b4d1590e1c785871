"""The manager of a controller, on a server that answers as it is told: what a standby does, and what it never does."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.controller.leadership import Leadership
from app.controller.manager import Manager
from app.controller.worker import LeaderTask
from app.kube.client import Client
from app.policyfile import PolicyFile
from app.settings import ControllerSettings
from app.telemetry.metrics import ControllerMetrics
from tests.bed.processes import wait_until
from tests.unit.kube_server import Handler, Server, json_answer, running

ENTRY = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "ServiceEntry",
    "metadata": {"name": "api", "namespace": "team", "uid": "1", "resourceVersion": "1"},
    "spec": {
        "hosts": ["api.example.com"],
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "resolution": "DNS",
    },
}
HELD = {
    "holderIdentity": "another replica",
    "leaseDurationSeconds": 600,
    "renewTime": "2026-01-01T00:00:00.000000Z",
}


class Cluster:
    """An entry without a VirtualService, and a Lease; watches deliver nothing until the end."""

    def __init__(self, server: Server) -> None:
        self.lease: dict[str, Any] = {"holderIdentity": ""}
        self.ended = threading.Event()
        self._server = server
        server.answers = [self._answer]

    def sent(self, *methods: str) -> list[str]:
        """Paths of requests, but for those about the Lease."""
        seen = [one for one in self._server.seen if one.method in methods and "/leases" not in one.path]
        return [one.path.partition("?")[0] for one in seen]

    def _answer(self, handler: Handler) -> None:
        if "/leases" in handler.path:
            json_answer({"metadata": {"resourceVersion": "1"}, "spec": self.lease, "items": []})(handler)
        elif "watch=true" in handler.path:
            self.ended.wait(60)
        elif handler.command != "GET":
            json_answer({"metadata": {"resourceVersion": "2"}, "spec": {}})(handler)
        else:
            items = [ENTRY] if "/serviceentries" in handler.path else []
            json_answer({"items": items, "metadata": {"resourceVersion": "1"}})(handler)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as server:
        cluster = Cluster(server)
        yield cluster
        cluster.ended.set()


class Replica:
    """A manager, and the passes of a task that only a leader does."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.passes = 0
        client = Client.from_kubeconfig(cluster._server.kubeconfig(folder / "kubeconfig", {}))
        policy = PolicyFile(None, lambda _taken: None)
        self.manager = Manager(client, ControllerSettings(), policy, ControllerMetrics(), [self._task])

    def _task(self, _client: Client, leadership: Leadership) -> LeaderTask:
        return LeaderTask("passes", self._pass, leadership)

    def _pass(self) -> float:
        self.passes += 1
        return 0.001


def test_a_standby_that_shuts_down_never_begins_what_only_a_leader_does(cluster: Cluster, tmp_path: Path) -> None:
    cluster.lease = HELD
    replica = Replica(cluster, tmp_path)
    replica.manager.start()
    wait_until(lambda: replica.manager.unready() is None, "its caches are filled")
    stopping = threading.Thread(target=replica.manager.stop, daemon=True)
    stopping.start()
    stopping.join(60)
    cluster.ended.set()
    stopping.join(30)
    assert replica.passes == 0
    assert cluster.sent("POST", "PUT", "PATCH", "DELETE") == []
    assert [path for path in cluster.sent("GET") if "reports" in path] == []


def test_a_leader_does_it_until_it_is_stopped(cluster: Cluster, tmp_path: Path) -> None:
    replica = Replica(cluster, tmp_path)
    replica.manager.start()
    wait_until(lambda: bool(replica.passes and cluster.sent("PATCH")), "it works")
    cluster.ended.set()
    replica.manager.stop()
    passes = replica.passes
    assert any("/virtualservices/api.example.com" in path for path in cluster.sent("PATCH"))
    assert replica.passes == passes
