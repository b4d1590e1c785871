"""How often the leader looks at what its pods mount."""

from typing import Any

import pytest

from app.controller.pod_sync import LOOK_SECONDS, PODS_SECONDS, QUIET_LOOK_SECONDS, QUIET_SECONDS, Mounted, PodSync
from app.kube.client import Object
from app.kube.pages import ListPage
from app.kube.resources import Resource


class Cluster:
    """A client of a cluster without pods, whose objects have the same version until it is raised."""

    def __init__(self) -> None:
        self.version, self.gets, self.lists = 1, 0, 0

    def get(self, _resource: Resource, _namespace: str, _name: str) -> Object:
        self.gets += 1
        return {"metadata": {"resourceVersion": str(self.version)}}

    def list_page(self, *_: object, **__: object) -> ListPage:
        self.lists += 1
        return ListPage((), "1", "")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def follow(sync: PodSync, seconds: float) -> None:
    """Make passes until this time is over."""
    while seconds > 0:
        seconds -= sync.check()


def test_after_a_minute_without_a_change_it_looks_less_often_and_again_often_after_a_change(cluster: Cluster) -> None:
    client: Any = cluster
    sync = PodSync(client, Mounted("guard", "app=webhook", ("policy", "siblings"), "tls"))
    follow(sync, QUIET_SECONDS)
    assert cluster.gets == 3 * QUIET_SECONDS / LOOK_SECONDS
    before = cluster.gets
    follow(sync, QUIET_SECONDS)
    assert cluster.gets - before == 3 * QUIET_SECONDS / QUIET_LOOK_SECONDS
    cluster.version += 1
    lists = cluster.lists
    assert sync.check() == LOOK_SECONDS
    assert cluster.lists == lists + 1, "the pods are annotated at once"


def test_pods_that_start_are_found_within_seconds_however_seldom_it_looks(cluster: Cluster) -> None:
    client: Any = cluster
    sync = PodSync(client, Mounted("guard", "app=webhook", ("policy",)))
    for _ in range(2):
        before = cluster.lists
        follow(sync, QUIET_SECONDS)
        assert cluster.lists - before >= QUIET_SECONDS / (PODS_SECONDS + QUIET_LOOK_SECONDS)
