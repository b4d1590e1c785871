"""Entries of two namespaces with one host at one waypoint, as the controller sees them come and go."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.controller.inventory import Inventory
from app.controller.siblings import Siblings
from app.controller.verdict_cache import VerdictCache
from app.core.resources.namespaces import Namespace
from app.core.resources.service_entry import ServiceEntry
from app.core.rules.patch import LAST_APPLIED
from app.policyfile import PolicyFile
from tests import builders

GATEWAYS = {"istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": "gateways"}


def entry(namespace: str = "team", labels: Any = GATEWAYS, **spec: Any) -> ServiceEntry:
    return builders.entry("api", namespace, labels=labels, **spec)


def applied(**spec: Any) -> Any:
    """A stored entry as it is read, with what kubectl applied last."""
    applied = {"spec": {"hosts": ["api.example.com"], **spec}}
    return {"metadata": {"annotations": {LAST_APPLIED: json.dumps(applied)}}}


UNOWNED = {"metadata": {"managedFields": [{"manager": "helm", "fieldsV1": {"f:spec": {"f:hosts": {}}}}]}}
OWNED = {"metadata": {"managedFields": [{"manager": "helm", "fieldsV1": {"f:spec": {"f:resolution": {}}}}]}}
FIRST, SECOND = entry(), entry("reports", resolution="NONE")


class Cluster:
    """What the controller observes, in one process."""

    def __init__(self, *stored: ServiceEntry, policy: Path | None = None) -> None:
        self.inventory, self.policy = Inventory(), PolicyFile(policy, lambda _taken: None)
        self.judge = VerdictCache(at_waypoint=self.inventory.at_waypoint)
        self.siblings = Siblings(self.inventory, self.judge, self.policy)
        self.stored = {one.key: one for one in stored}
        for one in stored:
            self.inventory.put_entry(None, one)
        self.siblings.recount(stored)
        self.inventory.touched()

    def put(self, old: ServiceEntry | None, new: ServiceEntry | None) -> None:
        """Deliver a change of an entry."""
        for one in filter(None, (old, new)):
            self.stored.pop(one.key, None)
        if new:
            self.stored[new.key] = new
        self.inventory.put_entry(old, new)
        self.siblings.changed(old, new)
        self._touch()

    def label(self, namespace: str, labels: Any) -> None:
        """Deliver the labels of a namespace."""
        self.inventory.put_namespace(namespace, Namespace.parse({"metadata": {"name": namespace, "labels": labels}}))
        self._touch()

    def restored(self, entry: ServiceEntry, document: Any = None) -> str:
        """Return the resolution that an entry gets, "" if it keeps its own."""
        patch = self.siblings.repair(entry, document)
        return patch[0]["value"] if patch else ""

    def decided(self, entry: ServiceEntry) -> str:
        """Return the resolution that the guard wants for an entry as it is stored."""
        patch = self.judge(entry, self.policy.current).patch
        return patch[0]["value"] if patch else entry.resolution

    def _touch(self) -> None:
        self.siblings.at_waypoints([self.stored[key] for key in self.inventory.touched() if key in self.stored])


@pytest.mark.parametrize(
    ("document", "resolution"),
    [
        (applied(), "NONE"),
        (applied(resolution="NONE"), "NONE"),
        (UNOWNED, "NONE"),
        (applied(resolution="DNS"), ""),
        (applied(resolution="STATIC"), ""),
        (OWNED, ""),
        ({"metadata": {}}, ""),
    ],
)
def test_the_entry_that_was_alone_is_restored_when_another_namespace_comes(document: Any, resolution: str) -> None:
    cluster = Cluster(FIRST)
    cluster.put(None, SECOND)
    assert cluster.restored(FIRST, document) == resolution
    assert cluster.restored(SECOND) == ""


def test_it_is_restored_beside_one_whose_author_wrote_dns() -> None:
    cluster = Cluster(FIRST)
    second = entry("reports")
    cluster.put(None, second)
    assert cluster.restored(FIRST, applied()) == "NONE"
    assert cluster.restored(second, applied(resolution="DNS")) == ""


def test_both_are_restored_when_their_namespaces_are_bound_to_one_waypoint() -> None:
    first, second = entry(labels={}), entry("reports", labels={})
    cluster = Cluster(first, second)
    assert cluster.restored(first, applied()) == ""
    for namespace in ("team", "reports"):
        cluster.label(namespace, GATEWAYS)
    assert [cluster.restored(one, applied()) for one in (first, second)] == ["NONE", "NONE"]


def test_both_are_restored_by_a_controller_that_starts_later() -> None:
    second = entry("reports")
    cluster = Cluster(FIRST, second)
    assert [cluster.restored(one, applied()) for one in (FIRST, second)] == ["NONE", "NONE"]


def test_none_is_restored_once_they_share_the_waypoint_no_more() -> None:
    cluster = Cluster(FIRST)
    cluster.put(None, SECOND)
    cluster.put(SECOND, None)
    assert cluster.restored(FIRST, applied()) == ""
    cluster.put(None, SECOND)
    cluster.put(SECOND, entry("reports", {"istio.io/use-waypoint": "none"}, resolution="NONE"))
    assert cluster.restored(FIRST, applied()) == ""


def test_the_event_names_the_waypoint_and_the_other_entry() -> None:
    cluster = Cluster(FIRST)
    assert "of the namespace" in cluster.siblings.reason(FIRST)
    cluster.put(None, SECOND)
    assert cluster.siblings.reason(FIRST) == (
        'waypoint gateways/waypoint serves "api.example.com" for ServiceEntry reports/api too'
    )


def test_an_entry_of_the_namespace_with_the_host_follows_it() -> None:
    apart = builders.entry("apart", labels={"istio.io/use-waypoint": "none"})
    cluster = Cluster(FIRST, apart)
    cluster.put(None, SECOND)
    cluster.put(FIRST, entry(resolution="NONE"))
    assert cluster.restored(apart, applied()) == "NONE"
