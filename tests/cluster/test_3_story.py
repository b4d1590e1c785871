"""The whole story in one cluster: istiod, a sidecar that its webhook injects, an application, a host outside.

Calls fail until the chart is installed and the ServiceEntry is applied with a change. The tests follow each other, and
need none of other files.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.bed.processes import wait_until
from tests.bed.require import give_up
from tests.cluster import istio
from tests.cluster.application import NAMESPACE, Application, Calls, team
from tests.cluster.cluster import Cluster
from tests.cluster.outside import HOST, Outside
from tests.cluster.page import Failures, write_story
from tests.cluster.release import SECONDS, Release
from tests.mesh.upstreams import Upstream

MESSAGE = "503 upstream connect error or disconnect/reset before headers. reset reason: connection termination"
CALLS = 100
"""So many calls are counted each time, at least."""
ENTRY = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: partner
  namespace: {NAMESPACE}
spec:
  hosts: [{HOST}]
  location: MESH_EXTERNAL
  resolution: NONE
  ports:
  - {{number: 80, name: http, protocol: HTTP}}
"""
EDITED = f"{ENTRY}  - {{number: 443, name: https, protocol: HTTPS}}\n"
"""The same after an edit: kubectl sends nothing for a manifest that it has applied before."""
CUT, MOVED = "every fifth request finds its connection cut", "the host moves, and its old address cuts every connection"
REPAIRED = {
    "config_dump?resource=dynamic_active_clusters": '"type": "STRICT_DNS"',
    "config_dump?resource=dynamic_route_configs": '"per_try_timeout": "2s"',
}
"""What a sidecar says of its clusters and routes once the entry is DNS and the VirtualService is in force."""


@dataclass
class Story:
    """What all tests here have in common."""

    cluster: Cluster
    application: Application
    outside: Outside
    rows: list[Failures] = field(default_factory=list)

    def apply(self, manifest: str) -> str:
        """Apply the ServiceEntry; the resolution that is stored."""
        self.cluster.kubectl("apply", "--filename=-", stdin=manifest)
        stored = self.cluster.get("serviceentry", "partner", f"--namespace={NAMESPACE}")
        return str(stored["spec"]["resolution"])

    def during(self, what: str, act: Callable[[], object], *, guarded: bool) -> Calls:
        """The calls while something goes on, told in a row of the table."""
        before = len(self.application.calls())
        act()
        calls = Calls(self.application.calls()[before:])
        row = Failures(what, guarded, len(calls.all), len(calls.failed), calls.message)
        print(f"\ncluster: {row.line()}")
        self.rows.append(row)
        return calls

    def wait_for_calls(self, number: int = CALLS) -> None:
        """Wait until so many more have reached the host."""
        wanted = self.outside.requests + number
        wait_until(lambda: self.outside.requests >= wanted, f"{number} more calls have come", SECONDS)

    def move(self, followed: Callable[[Upstream], bool]) -> None:
        """Move the host: first the name, then the old address gives up, and then some calls follow."""
        old, new = self.outside.move()
        self.wait_for_calls()
        wait_until(lambda: followed(new), "calls follow the host", SECONDS)
        old.retire()
        self.wait_for_calls()


@pytest.fixture(scope="module")
def story(cluster: Cluster, release: Release, sidecars: Mapping[str, Path]) -> Iterator[Story]:
    """Istio on the cluster, and an application with a sidecar, whose ServiceEntry has resolution NONE."""
    if reason := istio.complaint():
        give_up(reason)
    cluster.nodes[0].load(*istio.archives(sidecars, cluster.sandbox.folder))
    release.uninstall_if_installed()
    istio.install(cluster, sidecars["istioctl"])
    cluster.apply(team())
    story = Story(cluster, Application(cluster), Outside())
    assert story.apply(ENTRY) == "NONE"
    story.application.deploy()
    story.wait_for_calls(1)
    yield story
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    istio.uninstall(cluster, sidecars["istioctl"])


def test_istiod_injects_a_sidecar_into_the_pod(story: Story) -> None:
    assert {"istio-init", "istio-proxy", "checkout"} == set(story.application.containers())


def test_without_the_guard_each_cut_connection_is_a_503(story: Story) -> None:
    calls = story.during(CUT, story.wait_for_calls, guarded=False)
    assert len(calls.failed) >= len(calls.all) // 10
    assert calls.message == MESSAGE


def test_without_the_guard_all_calls_fail_once_the_old_address_is_given_up(story: Story) -> None:
    calls = story.during(MOVED, lambda: story.move(lambda _: True), guarded=False)
    assert {one.status for one in calls.all[-CALLS // 2 :]} == {503}
    assert calls.message == MESSAGE


def test_an_apply_that_changes_the_entry_repairs_it_once_the_chart_is_installed(story: Story, release: Release) -> None:
    release.install({})
    release.wait_until_repairing()
    assert story.apply(ENTRY) == "NONE"
    began = time.monotonic()
    assert story.apply(EDITED) == "DNS"
    wait_until(lambda: repaired(story.application), "the sidecar has the cluster and the retries", SECONDS)
    print(f"\ncluster: the sidecar had the repair {time.monotonic() - began:.1f} s after kubectl apply began")


def repaired(application: Application) -> bool:
    """Whether the sidecar has what follows from the repaired entry."""
    return all(fragment in application.sidecar(path) for path, fragment in REPAIRED.items())


def test_with_the_guard_no_call_fails_when_connections_are_cut(story: Story) -> None:
    assert story.during(CUT, story.wait_for_calls, guarded=True).failed == []


def test_with_the_guard_no_call_fails_when_the_address_moves(story: Story) -> None:
    assert story.during(MOVED, lambda: story.move(lambda new: bool(new.seen)), guarded=True).failed == []
    write_story(story.rows)
