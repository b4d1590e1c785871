"""DNS queries of the proxies of a mesh, before and after entries become DNS."""

from typing import Any

import pytest

from app.core.insight.cluster import Overview, WithFindings
from app.core.insight.dns_load import dns_load
from app.core.policy.model import Mode
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.resources.sidecars import Group, Sidecar, group
from app.core.routes.survey import Sourced, survey
from tests.builders import HTTP, TLS, entry, guard_policy

MESH = (Group("*", 100),)


def pair(resolution: str = "NONE", after: str = "DNS", **spec: Any) -> tuple[ServiceEntry, ServiceEntry]:
    return entry(resolution=resolution, **spec), entry(resolution=after, **spec)


def after(*pairs: tuple[ServiceEntry, ServiceEntry], groups: tuple[Group, ...] = MESH) -> float:
    return dns_load(pairs, groups, ttl=10).after


def test_a_host_costs_its_ports_times_the_proxies_over_the_ttl() -> None:
    load = dns_load([pair(ports=[HTTP, TLS], hosts=["a.example.com", "b.example.com"])], MESH, ttl=10)
    assert (load.before, load.after, load.proxies) == (0, 40, 100)
    (one,) = load.entries
    assert (one.clusters, one.proxies, one.queries, one.new) == (4, 100, 40, True)
    assert load.sentence == (
        "100 proxies and a TTL of 10 s: 0 DNS queries a second now, 40 once the policy is enforced"
    )


@pytest.mark.parametrize("resolution", ["NONE", "STATIC", "DYNAMIC_DNS"])
def test_a_resolution_without_dns_queries_costs_nothing(resolution: str) -> None:
    assert after(pair(after=resolution)) == 0


def test_an_entry_with_dns_before_and_after_costs_the_same() -> None:
    load = dns_load([pair("DNS_ROUND_ROBIN", "DNS_ROUND_ROBIN")], MESH, ttl=10)
    assert (load.before, load.after, load.entries[0].new) == (10, 10, False)


def test_a_host_that_several_entries_name_is_asked_for_once() -> None:
    assert after(pair(), pair(name="other", namespace="shop")) == 10


def test_only_proxies_of_namespaces_that_see_an_entry_ask() -> None:
    groups = (Group("team", 3), Group("shop", 5))
    assert after(pair(exportTo=["."]), groups=groups) == 0.3
    assert after(pair(exportTo=["shop", "."]), groups=groups) == 0.8
    assert after(pair(), groups=groups) == 0.8


def test_names_of_endpoints_are_asked_for_in_place_of_the_host() -> None:
    endpoints = [{"address": "one.example.com"}, {"address": "two.example.com"}, {"address": "192.0.2.1"}]
    assert after(pair(endpoints=endpoints)) == 20
    assert after(pair(endpoints=[{"address": "192.0.2.1"}])) == 0


def sidecar(name: str, *hosts: str, namespace: str = "shop", labels: dict[str, str] | None = None) -> Sidecar:
    selector = {"workloadSelector": {"labels": labels}} if labels else {}
    spec = {"egress": [{"hosts": list(hosts)}], **selector} if hosts else selector
    return Sidecar.parse({"metadata": {"name": name, "namespace": namespace}, "spec": spec})


@pytest.mark.parametrize(
    ("hosts", "queries"),
    [
        (("./*",), 0),
        (("team/*",), 1),
        (("*/api.example.com",), 1),
        (("*/*.example.com", "istio-system/*"), 1),
        (("team/other.example.com",), 0),
        (("api.example.com",), 1),
        ((), 1),
    ],
)
def test_a_sidecar_resource_leaves_out_what_it_does_not_import(hosts: tuple[str, ...], queries: float) -> None:
    pods: list[tuple[str, dict[str, str]]] = [("shop", {})] * 10
    assert after(pair(), groups=group(pods, [sidecar("default", *hosts)])) == queries


def test_a_sidecar_shows_no_entry_that_its_namespace_does_not_see() -> None:
    pods: list[tuple[str, dict[str, str]]] = [("shop", {})] * 10
    assert after(pair(exportTo=["."]), groups=group(pods, [sidecar("default", "*/*")])) == 0


def test_a_pod_has_the_sidecar_that_selects_it_or_that_of_its_namespace_or_of_the_root() -> None:
    selecting = sidecar("web", "./*", labels={"app": "web"})
    root = sidecar("root", "team/*", namespace="istio-system")
    sidecars = [selecting, sidecar("default", "./*"), root]
    pods: list[tuple[str, dict[str, str]]] = [("shop", {"app": "web"}), ("shop", {}), ("team", {}), ("team", {})]
    found = {(one.namespace, one.sidecar.key.name if one.sidecar else ""): one.proxies for one in group(pods, sidecars)}
    assert found == {("shop", "web"): 1, ("shop", "default"): 1, ("team", "root"): 2}
    assert group([("team", {})], [selecting]) == (Group("team", 1),)


def test_above_the_limit_the_most_expensive_entries_have_a_finding() -> None:
    pairs = [
        pair(name="dear", hosts=["dear.example.com"], ports=[HTTP, TLS]),
        pair(name="cheap", hosts=["cheap.example.com"]),
    ]
    load = dns_load(pairs, MESH, ttl=10)
    assert load.findings(30) == {}
    assert load.findings(None) == {}
    (found,) = load.findings(29).items()
    assert found[0] == Key("team", "dear")
    assert found[1].sentence == (
        "SEG049 spec.resolution: costs 20 of 30 DNS queries a second (2 clusters on 100 proxies, TTL 10 s); "
        "the policy's limit is 29"
    )
    assert load.findings(1).keys() == {Key("team", "dear"), Key("team", "cheap")}


def test_an_entry_that_is_being_deleted_costs_nothing() -> None:
    gone = entry(terminating=True)
    assert after((gone, gone)) == 0


def test_a_policy_that_warns_is_taken_as_it_is_once_it_is_enforced() -> None:
    policy = guard_policy(mode="Warn", namespaces=[{"match": ["a"], "mode": "Off"}, {"match": ["b"]}])
    modes = [settings.mode for _, _, settings in policy.enforced.layers()]
    assert modes == [Mode.ENFORCE, Mode.OFF, Mode.ENFORCE]
    same = guard_policy(namespaces=[{"match": ["a"], "mode": "Off"}])
    assert same.enforced is same


def manifest(name: str, **annotations: str) -> dict[str, Any]:
    prefixed = {f"serviceentry-guard.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "team", "annotations": prefixed},
        "spec": {"hosts": [f"{name}.example.com"], "ports": [HTTP], "resolution": "DNS"},
    }


def test_an_overview_has_exemptions_by_their_end_objects_and_hosts_of_others() -> None:
    policy = guard_policy(hosts={"owners": [{"match": ["owned.example.com"], "namespaces": ["shop"]}]}).on("2027-01-01")
    documents = [
        manifest("late", exempt="the vendor moves", exempt_until="2027-06-30"),
        manifest("soon", exempt="the vendor moves", exempt_until="2027-02-28"),
        manifest("owned"),
        manifest("plain"),
    ]
    overview = Overview()
    for one in survey([Sourced("files", document) for document in documents], policy):
        overview.add(one)
    assert [(one.until, one.entry.name) for one in overview.ending] == [("2027-02-28", "soon"), ("2027-06-30", "late")]
    assert overview.to_write == {"team": 1}
    assert overview.owned == [(Key("team", "owned"), '"owned.example.com" belongs to namespace "shop"')]


def test_findings_are_added_to_their_entries_each_time() -> None:
    reviewed = survey([Sourced("files", manifest("plain")), Sourced("files", manifest("other"))], guard_policy())
    findings = dns_load([pair(name="plain")], MESH, ttl=10).findings(1)
    told = WithFindings(reviewed, findings)
    for _ in range(2):
        assert [[finding.code for finding in one.findings] for one in told] == [["SEG049"], []]


def test_a_sidecar_without_egress_takes_every_host() -> None:
    assert sidecar("default").takes("team", "api.example.com")
