"""What goes wrong on nodes while ServiceEntries are created at a steady rate: nothing is refused, delayed or lost.

The tables in docs/reliability.md and docs/performance.md are written by this run.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.bed.processes import wait_until
from tests.cluster.cluster import Cluster
from tests.cluster.load import Created, Load, host
from tests.cluster.page import LEADER_KILLED, RESTARTS, Row, write
from tests.cluster.release import NAMESPACE, SECONDS, Release
from tests.cluster.routes import Routes

TIMEOUTS = 2.0 + 3.0
"""Seconds that both webhooks together may take, as the chart has them."""
GRACE = 1.0
"""Seconds that a busy machine adds to a create that waits for nobody."""
SETTLED = 3.0
"""Seconds of load after a disruption that still belong to it."""
SLICES = (
    f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
    "?labelSelector=kubernetes.io/service-name%3Dserviceentry-guard-webhook"
)
IN_FLIGHT = 20
"""A second of load: for as long, calls may go to a container that was killed before its pod is out of the Service."""
CALL_FAILED = r"failed calling webhook|SEG012 .* mutation was skipped"
"""What creates are refused with while a webhook is killed: its call failed, or that of mutation, which fails open."""


@dataclass
class Scene:
    """The release under load, and the rows of the table so far."""

    release: Release
    load: Load
    routes: Routes
    rows: list[Row]

    def disrupt(self, title: str, act: Callable[[], object], *, in_flight: int = 0, tolerant: bool = False) -> Row:
        """Do something, and see what became of the entries that were created meanwhile.

        `in_flight` is how many creates may be refused because the process that was asked about them was killed.
        """
        began = time.monotonic()
        act()
        ended = time.monotonic()
        wait_until(lambda: time.monotonic() > ended + SETTLED, "some load has followed", SECONDS)
        created = self.load.since(began)
        routed = self._gap(began, created)
        row = Row.of(title, created, routed, self.routes.pause(began))
        print(f"\ncluster: {row.line()}")
        self.rows.append(row)
        if not tolerant:
            slow = [one for one in created if one.seconds > TIMEOUTS + GRACE]
            refused = [one for one in created if one.status != 201]
            assert len(refused) <= in_flight, refused[:3]
            assert all(re.search(CALL_FAILED, one.message) for one in refused), refused
            assert not slow, slow[:3]
        return row

    def _gap(self, began: float, created: list[Created]) -> float:
        """Seconds until every entry has its VirtualService, counted from the last create."""
        wanted = {host(one.name) for one in created if one.status == 201 and one.resolution == "DNS"}
        self.wait_for_routes(wanted)
        return time.monotonic() - began

    def wait_for_routes(self, wanted: set[str]) -> None:
        """Wait until there are VirtualServices of these names."""
        try:
            wait_until(lambda: wanted <= self.routes.names, "every entry has a VirtualService", SECONDS)
        except TimeoutError as error:
            lacking = sorted(wanted - self.routes.names)
            raise TimeoutError(f"{error}; {len(lacking)} lack theirs: {lacking[:5]}") from None

    def wait_for_leader(self, other_than: str = "") -> None:
        """Wait until there is a leader, another pod than this one."""
        wait_until(lambda: self.release.leader() not in {"", other_than}, "there is a leader", SECONDS)


@pytest.fixture(scope="module")
def scene(release: Release, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """The release with its defaults; the load runs as long as these tests."""
    release.upgrade({})
    release.wait_until_ready()
    wait_until(lambda: bool(release.leader()), "there is a leader", SECONDS)
    plane = release.cluster.plane
    with Load(plane).running() as load, Routes(plane).running() as routes:
        scene = Scene(release, load, routes, [])
        yield scene
    if not request.session.testsfailed:
        write(scene.rows)


def test_nothing_happens(scene: Scene) -> None:
    scene.disrupt("nothing", lambda: None)


@pytest.mark.parametrize("component", RESTARTS)
def test_a_rollout_restart(scene: Scene, component: str) -> None:
    def act() -> None:
        kubectl(scene, "rollout", "restart", f"deployment/serviceentry-guard-{component}")
        scene.release.wait_until_ready()

    scene.disrupt(RESTARTS[component], act)


def test_a_webhook_container_is_killed(scene: Scene) -> None:
    def act() -> None:
        scene.release.kill(scene.release.pods("webhook")[0])
        scene.release.wait_until_ready()

    # The API server asks nobody a second time.
    scene.disrupt("kill -9 of a webhook container", act, in_flight=IN_FLIGHT)


def test_the_leader_is_killed(scene: Scene) -> None:
    def act() -> None:
        leader = scene.release.leader()
        scene.release.kill(next(pod for pod in scene.release.pods("controller") if pod["metadata"]["name"] == leader))
        scene.release.wait_until_ready()
        scene.wait_for_leader()

    scene.disrupt(LEADER_KILLED, act)


@pytest.mark.parametrize("node", ["node-1", "node-2"])
def test_a_node_is_drained(scene: Scene, node: str) -> None:
    def act() -> None:
        kubectl(scene, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s",
                "--pod-selector=app.kubernetes.io/part-of=serviceentry-guard")  # fmt: skip
        scene.release.wait_until_ready()
        kubectl(scene, "uncordon", node)

    scene.disrupt(f"kubectl drain of {node}", act)


def test_certificates_are_rotated_every_minute(scene: Scene) -> None:
    """The certificate of before lives for months: without it a new one is made, which is renewed after 40 seconds."""
    flags = ["--ca-lifetime=120s", "--certificate-lifetime=60s", "--certificate-propagation=12s"]
    serials = set[str]()

    def rotated() -> bool:
        serials.update(certificate(scene))
        return len(serials) > 1

    def act() -> None:
        scene.release.upgrade({"controller": {"extraArgs": flags}})
        scene.release.wait_until_ready()
        kubectl(scene, "delete", "secret", "serviceentry-guard-tls")
        wait_until(rotated, "a certificate that was renewed", 200)

    scene.disrupt("rotation of certificates that live for a minute", act)


def certificate(scene: Scene) -> set[str]:
    """The serving certificate, as the Secret has it; none while there is no Secret."""
    found = scene.release.cluster.read(f"/api/v1/namespaces/{NAMESPACE}/secrets/serviceentry-guard-tls")
    return {str(found["data"]["tls.crt"])} if found else set()


def test_a_node_stops_answering(scene: Scene) -> None:
    """Its kubelet is stopped and its network cut: until its pods are taken out of the Service, calls go nowhere."""
    cluster = scene.release.cluster
    lost = cluster.nodes[1]
    balance(scene)
    lead_calls_to(scene, "node-2")

    def act() -> None:
        lost.pause_kubelet()
        lost.cut_network()
        wait_until(lambda: not is_ready(cluster, "node-2"), "the node is not ready", SECONDS)
        wait_until(lambda: endpoints(cluster) == 1, "its pods are out of the Service", SECONDS)

    try:
        row = scene.disrupt("a node stops answering", act, tolerant=True)
        after = time.monotonic()
        wait_until(lambda: len(scene.load.since(after)) > 60, "creates go on", SECONDS)
        assert not [one for one in scene.load.since(after) if one.status != 201]
        assert row.created
    finally:
        lost.mend_network(cluster.nodes[0].name)
        lost.resume_kubelet()
    wait_until(lambda: is_ready(cluster, "node-2"), "the node is back", SECONDS)
    scene.release.wait_until_ready()


def balance(scene: Scene) -> None:
    """Have the defaults, and a pod of each Deployment on each node: after a drain nothing moves back by itself."""
    scene.release.upgrade({})
    for component in RESTARTS:
        kubectl(scene, "rollout", "restart", f"deployment/serviceentry-guard-{component}")
    scene.release.wait_until_ready()
    for component in RESTARTS:
        assert {pod["spec"]["nodeName"] for pod in scene.release.pods(component)} == {"node-1", "node-2"}


def lead_calls_to(scene: Scene, node: str) -> None:
    """Have the API server's open connections end at the webhook on a node: it keeps those that it has."""
    (other,) = [pod for pod in scene.release.pods("webhook") if pod["spec"]["nodeName"] != node]
    scene.release.kill(other)
    scene.release.wait_until_ready()


def is_ready(cluster: Cluster, node: str) -> bool:
    """Whether a node is ready, as the API server knows it."""
    conditions = cluster.read(f"/api/v1/nodes/{node}").get("status", {}).get("conditions", [])
    return "True" in [one["status"] for one in conditions if one["type"] == "Ready"]


def endpoints(cluster: Cluster) -> int:
    """How many webhook pods the Service leads to."""
    slices = cluster.read(SLICES).get("items", [])
    return sum(one["conditions"].get("ready") is True for each in slices for one in each.get("endpoints") or ())


def test_nothing_was_lost(scene: Scene) -> None:
    """Every entry that was stored is DNS and has its VirtualService, once the load has ended."""
    scene.load.stop()
    stored = [one for one in scene.load.done if one.status == 201]
    scene.wait_for_routes({host(one.name) for one in stored})
    assert [one for one in stored if one.resolution != "DNS"] == []


def kubectl(scene: Scene, *arguments: str) -> None:
    """Run kubectl in the namespace of the release."""
    scene.release.cluster.kubectl(*arguments, f"--namespace={NAMESPACE}")
