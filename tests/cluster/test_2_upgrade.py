"""An upgrade from the release before this one, on a cluster with entries of its own. The tests follow each other."""

from collections.abc import Iterator

import pytest

from tests.bed.processes import wait_until
from tests.cluster.cluster import Cluster
from tests.cluster.earlier import Earlier
from tests.cluster.image import tag
from tests.cluster.release import NAMESPACE, SECONDS, Release

OLD, NEW = {"image": {"tag": "earlier"}}, {"image": {"tag": tag()}}
"""Helm keeps the values of a release if an upgrade has none."""


@pytest.fixture(scope="module")
def upgraded(release: Release, cluster: Cluster, earlier: Earlier | None) -> Iterator[list[str]]:
    """Install the earlier release, create an entry, and upgrade; what entries met meanwhile."""
    if earlier is None:
        pytest.skip("this clone lacks the history of the earlier release")
    cluster.load(earlier.image, OLD["image"]["tag"])
    release.uninstall_if_installed()
    release.install(OLD, chart=earlier.chart)
    release.wait_until_repairing()
    release.expect_repair("before", "team")
    release.upgrade(NEW)
    outcomes = list[str]()

    def done() -> bool:
        outcomes.append(release.rehearse())
        return release.is_ready()

    wait_until(done, "all pods are of this release, and ready", SECONDS)
    yield outcomes
    release.uninstall()


def test_no_entry_is_rejected_or_left_unchanged_while_pods_are_replaced(upgraded: list[str]) -> None:
    assert set(upgraded) == {"DNS"}


def test_objects_emitted_before_the_upgrade_stay(upgraded: list[str], release: Release, cluster: Cluster) -> None:
    assert upgraded
    release.expect_repair("after", "team")
    assert release.has_route("before", "team")
    manager = cluster.get("virtualservice", "before.example.com", "--namespace=team", "--show-managed-fields")
    assert {field["manager"] for field in manager["metadata"]["managedFields"]} == {"serviceentry-guard"}


def test_the_failure_policy_becomes_fail_again(upgraded: list[str], cluster: Cluster) -> None:
    assert upgraded

    def failure_policy() -> str:
        return str(cluster.get("validatingwebhookconfiguration", NAMESPACE)["webhooks"][0]["failurePolicy"])

    wait_until(lambda: failure_policy() == "Fail", "the controller has seen the webhook answer", SECONDS)


def test_the_doctor_finds_nothing_wrong_after_the_upgrade(upgraded: list[str], release: Release) -> None:
    assert upgraded
    assert "The guard works." in release.test()
