"""Hosts with an owner: who may have entries for them, in each spelling and by each wildcard."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.resources.hosts import covers
from app.core.rules.ownership import spelled
from app.core.rules.patch import apply_patch
from app.core.rules.verdict import review
from tests.builders import entry, guard_policy

PAYMENTS = {"match": ["*.payments.example"], "namespaces": ["payments"]}


def refused(host: str, *owners: dict[str, Any], namespace: str = "team", **document: Any) -> str:
    """What an entry for a host is refused for as another's; "" where it is not."""
    verdict = review(entry(namespace=namespace, hosts=[host]), guard_policy(hosts={"owners": list(owners)}, **document))
    return " ".join(one.message for one in verdict.errors if one.code == "SEG043")


def test_the_message_names_host_and_owner() -> None:
    platform = {"match": ["*.example"], "namespaces": ["platform", "istio-*"]}
    assert refused("API.Payments.example.", PAYMENTS) == '"API.Payments.example." belongs to namespace "payments"'
    assert refused("a.example", platform) == '"a.example" belongs to namespace "platform, istio-*"'


def test_the_first_of_several_hosts_is_named_and_the_others_are_counted() -> None:
    hosts = ["a.example", "b.payments.example", "c.payments.example"]
    (finding,) = review(entry(hosts=hosts), guard_policy(hosts={"owners": [PAYMENTS]})).errors
    assert finding.path == "spec.hosts[1]"
    assert finding.message == '"b.payments.example" belongs to namespace "payments" (and 1 more)'
    assert finding.remedy.startswith("Remove the host, and ask the owner")


@pytest.mark.parametrize(
    ("host", "owned"),
    [
        ("a.payments.example", True),
        ("a.b.payments.example", True),
        ("payments.example", False),
        ("xpayments.example", False),
        ("*.payments.example", True),
        ("*.b.payments.example", True),
        ("*-x.payments.example", True),
        ("*.example", True),
        ("*payments.example", True),
        ("*ents.example", True),
        ("*", True),
        ("*.other.example", False),
        ("*.b.example", False),
    ],
)
def test_a_pattern_stands_for_what_istio_takes_it_for_and_a_wildcard_for_all_that_it_covers(
    host: str, owned: bool
) -> None:
    assert bool(refused(host, PAYMENTS)) is owned
    assert refused(host, PAYMENTS, namespace="payments") == ""


def test_the_first_owner_that_has_a_say_decides() -> None:
    wide = {"match": ["*.example"], "namespaces": ["platform"]}
    assert refused("a.payments.example", PAYMENTS, wide, namespace="payments") == ""
    assert "payments" in refused("a.payments.example", PAYMENTS, wide, namespace="platform")
    assert "platform" in refused("a.payments.example", wide, PAYMENTS, namespace="payments")
    assert "payments" in refused("*.example", PAYMENTS, wide, namespace="platform")
    assert refused("*.example", wide, PAYMENTS, namespace="platform") == "", "the second line never counts"


def test_names_of_services_are_owned_without_the_domain_of_the_cluster_too() -> None:
    platform = {"match": ["*.svc.cluster.local"], "namespaces": ["platform"]}
    for host in ("reviews.default.svc.cluster.local", "reviews.default.svc", "*.default.svc", "*.local", "*.svc"):
        assert refused(host, platform)
    assert refused("reviews.default", platform) == "", "no host of two labels is surely a Service"
    assert refused("reviews.default.svc.corp.example", platform) == ""
    assert refused("reviews.default.svc", {**platform, "match": ["*.cluster.local"]})
    assert refused("a.b.svc", {**platform, "match": ["a.b.svc.cluster.local"]})
    domains: dict[str, Any] = {"scope": {"clusterDomains": ["corp.example"]}}
    assert refused("a.b.svc", {**platform, "match": ["*.svc.corp.example"]}, **domains)
    assert refused("a.b.svc", platform, **domains) == ""


def test_spellings_are_those_of_the_pattern_and_of_no_other_names() -> None:
    domains = ("cluster.local", "clusterset.local")
    assert spelled(("*.default.svc.cluster.local",), domains) == ("*.default.svc.cluster.local", "*.default.svc")
    assert spelled(("*.local",), domains) == ("*.local", "*.svc")
    assert spelled(("svc.cluster.local", "a.example"), domains) == ("svc.cluster.local", "a.example")


@pytest.mark.parametrize("location", ["MESH_EXTERNAL", "MESH_INTERNAL"])
@pytest.mark.parametrize("exempt", [False, True])
@pytest.mark.parametrize("resolution", ["NONE", "DNS", "STATIC", "DYNAMIC_DNS"])
def test_neither_location_nor_exemption_nor_resolution_is_a_way_around(
    location: str, exempt: bool, resolution: str
) -> None:
    annotations = {"exempt": "the vendor pins its addresses"} if exempt else {}
    given = entry(hosts=["a.payments.example"], location=location, resolution=resolution, annotations=annotations)
    verdict = review(given, guard_policy(hosts={"owners": [PAYMENTS]}))
    assert not verdict.allowed
    assert verdict.patch == ()


def test_an_entry_out_of_scope_is_not_rejected() -> None:
    assert refused("a.payments.example", PAYMENTS, mode="Off") == ""
    assert refused("a.payments.example", PAYMENTS, scope={"excludedNamespaces": ["team"]}) == ""
    assert refused("a.payments.example", PAYMENTS, namespaces=[{"match": ["team"], "hosts": {"owners": []}}]) == ""


def test_under_warn_a_foreign_owner_is_a_warning_and_the_entry_is_allowed() -> None:
    verdict = review(entry(hosts=["a.payments.example"]), guard_policy(mode="Warn", hosts={"owners": [PAYMENTS]}))
    assert verdict.allowed
    assert [one for one in verdict.warnings if one.startswith("SEG043 ")]


LABELS = st.lists(st.sampled_from(["a", "b", "svc"]), min_size=1, max_size=3).map(".".join)
PATTERNS = st.one_of(LABELS, LABELS.map("*.{}".format), LABELS.map("*{}".format), st.just("*"))


@given(PATTERNS, PATTERNS)
def test_a_host_is_owned_by_others_if_any_name_is_both_its_and_the_owners(host: str, pattern: str) -> None:
    shared = covers(pattern, host) or (host.startswith("*") and covers(host, pattern))
    verdict = review(entry(hosts=[host]), guard_policy(hosts={"owners": [{"match": [pattern], "namespaces": ["x"]}]}))
    assert ("SEG043" in verdict.codes) is shared
    if verdict.patch:
        assert apply_patch({"spec": {"resolution": "NONE"}}, verdict.patch)


def test_many_owners_and_hosts_cost_little() -> None:
    owners = [
        {"match": [f"*.team-{number}.example", f"team-{number}.example"], "namespaces": ["x"]} for number in range(500)
    ]
    policy, given = guard_policy(hosts={"owners": owners}), entry(hosts=[f"h{number}.example" for number in range(256)])
    review(given, policy)
    began = time.process_time()
    review(given, policy)
    assert time.process_time() - began < 2.0
