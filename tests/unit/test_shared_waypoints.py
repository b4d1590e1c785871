"""Entries of two namespaces with one host at one waypoint, as the controller sees them come and go."""

from typing import Any

import pytest

from app.core.resources.service_entry import ServiceEntry
from tests import builders
from tests.builders import HOST, applied
from tests.unit.siblings_cluster import GATEWAYS, Cluster


def entry(namespace: str = "team", labels: Any = GATEWAYS, **spec: Any) -> ServiceEntry:
    return builders.entry("api", namespace, labels=labels, **spec)


def written(**spec: Any) -> Any:
    """A stored entry as it is read, with what its author applied last."""
    return applied({"spec": {"hosts": [HOST], **spec}})


UNOWNED = {"metadata": {"managedFields": [{"manager": "helm", "fieldsV1": {"f:spec": {"f:hosts": {}}}}]}}
OWNED = {"metadata": {"managedFields": [{"manager": "helm", "fieldsV1": {"f:spec": {"f:resolution": {}}}}]}}
FIRST, SECOND = entry(), entry("reports", resolution="NONE")


@pytest.mark.parametrize(
    ("document", "resolution"),
    [
        (written(), "NONE"),
        (written(resolution="NONE"), "NONE"),
        (UNOWNED, "NONE"),
        (written(resolution="DNS"), ""),
        (written(resolution="STATIC"), ""),
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
    assert cluster.restored(FIRST, written()) == "NONE"
    assert cluster.restored(second, written(resolution="DNS")) == ""


def test_both_are_restored_when_their_namespaces_are_bound_to_one_waypoint() -> None:
    first, second = entry(labels={}), entry("reports", labels={})
    cluster = Cluster(first, second)
    assert cluster.restored(first, written()) == ""
    for namespace in ("team", "reports"):
        cluster.label(namespace, GATEWAYS)
    assert [cluster.restored(one, written()) for one in (first, second)] == ["NONE", "NONE"]


def test_both_are_restored_by_a_controller_that_starts_later() -> None:
    second = entry("reports")
    cluster = Cluster(FIRST, second)
    assert [cluster.restored(one, written()) for one in (FIRST, second)] == ["NONE", "NONE"]


def test_none_is_restored_once_they_share_the_waypoint_no_more() -> None:
    cluster = Cluster(FIRST)
    cluster.put(None, SECOND)
    cluster.put(SECOND, None)
    assert cluster.restored(FIRST, written()) == ""
    cluster.put(None, SECOND)
    cluster.put(SECOND, entry("reports", {"istio.io/use-waypoint": "none"}, resolution="NONE"))
    assert cluster.restored(FIRST, written()) == ""


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
    assert cluster.restored(apart, written()) == "NONE"
