"""The rules of the core that the case files do not state."""

from typing import Any

import pytest

from app.core.policy.model import default_policy
from app.core.policy.reader import parse_policy
from app.core.resources.hosts import Host, HostKind, object_name
from app.core.resources.kinds import is_service_entry
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.observed import Observed
from app.core.routes.plan import changes, desired
from app.core.routes.survey import Sourced, survey
from app.core.rules.catalogue import CATALOGUE
from app.core.rules.findings import printable
from app.core.rules.patch import set_resolution
from app.core.rules.verdict import review
from tests.builders import IDENTITY, manifest


def entry(name: str = "one", created: str = "", namespace: str = "team", **spec: Any) -> dict[str, Any]:
    return manifest(name, namespace, created, **spec)


ROUTES = [{"route": [{"destination": {"host": "elsewhere.example.com"}}]}]


def virtual_service(name: str = "theirs", namespace: str = "team", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": namespace, "uid": "v", "resourceVersion": "7"},
        "spec": {"hosts": ["api.example.com"], "http": ROUTES, **spec},
    }


def http_route(namespace: str = "team", **parent: Any) -> dict[str, Any]:
    parents = [{"group": "networking.istio.io", "kind": "ServiceEntry", "name": "one", **parent}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "route", "namespace": namespace},
        "spec": {"parentRefs": parents, "rules": [{"backendRefs": [{"name": "egress", "port": 80}]}]},
    }


def yields_to(other: dict[str, Any], **spec: Any) -> bool:
    return bool(desired([ServiceEntry.parse(entry(**spec))], default_policy(), [Observed.parse(other)]).conflicts)


def test_every_code_is_unique_and_every_rule_says_what_it_means_and_what_to_do() -> None:
    assert all(code == rule.code for code, rule in CATALOGUE.items())
    assert len({rule.name for rule in CATALOGUE.values()}) == len(CATALOGUE)
    assert all(rule.meaning.endswith(".") and rule.remedy.endswith(".") for rule in CATALOGUE.values())


def test_our_virtual_service_carries_owner_label_annotation_and_the_entrys_visibility() -> None:
    (emitted,) = desired([ServiceEntry.parse(entry(exportTo=[".", "other"]))], default_policy()).objects
    assert emitted.manifest == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {
            "name": "api.example.com",
            "namespace": "team",
            "labels": {"app.kubernetes.io/managed-by": "serviceentry-guard"},
            "annotations": {"serviceentry-guard.io/service-entry": "team/one"},
            "ownerReferences": [
                {
                    "apiVersion": "networking.istio.io/v1",
                    "kind": "ServiceEntry",
                    "name": "one",
                    "uid": "team-one",
                    "controller": True,
                }
            ],
        },
        "spec": {
            "hosts": ["api.example.com"],
            "exportTo": [".", "other"],
            "http": [
                {
                    "route": [{"destination": {"host": "api.example.com", "port": {"number": 80}}, "weight": 100}],
                    "timeout": "30s",
                    "retries": {
                        "attempts": 3,
                        "perTryTimeout": "2s",
                        "retryOn": "gateway-error,connect-failure,refused-stream,5xx",
                    },
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("ports", "matched"),
    [
        ({80: "HTTP"}, []),
        ({80: "HTTP", 443: "TLS", 8443: "HTTPS", 22: "TCP"}, []),
        ({8080: "HTTP"}, [8080]),
        ({50051: "GRPC"}, [50051]),
        ({80: "HTTP", 8080: "HTTP"}, [80, 8080]),
        ({80: "HTTP", 3128: "HTTP_PROXY"}, [80]),
        ({80: "HTTP", 8080: ""}, [80]),
    ],
)
def test_a_route_is_matched_by_port_unless_istiod_would_use_it_for_port_80_alone(
    ports: dict[int, str], matched: list[int]
) -> None:
    given = [{"number": number, "name": f"p{number}", "protocol": protocol} for number, protocol in ports.items()]
    (emitted,) = desired([ServiceEntry.parse(entry(ports=given))], default_policy()).objects
    matches = [match["port"] for route in emitted.manifest["spec"]["http"] for match in route.get("match", [])]
    assert matches == matched


def test_a_port_of_an_entry_in_another_namespace_is_a_reason_to_match_too() -> None:
    admin = [{"number": 8080, "name": "http-admin", "protocol": "HTTP"}]
    entries = [ServiceEntry.parse(entry()), ServiceEntry.parse(entry(namespace="other", ports=admin))]
    routes = [one.manifest["spec"]["http"] for one in desired(entries, default_policy()).objects]
    assert sorted(route["match"][0]["port"] for (route,) in routes) == [80, 8080]


def test_the_older_entry_owns_a_shared_host_and_the_younger_one_gets_a_finding() -> None:
    younger = ServiceEntry.parse(entry("a", created="2026-01-02T00:00:00Z"))
    older = ServiceEntry.parse(entry("b", created="2026-01-01T00:00:00Z"))
    plan = desired([younger, older], default_policy())
    assert [one.owner.key.name for one in plan.objects] == ["b"]
    assert [finding.code for finding in plan.findings[younger.key]] == ["SEG022"]
    assert older.key not in plan.findings
    assert [one.owner.key.name for one in desired([younger], default_policy()).objects] == ["a"]


def test_entries_of_one_name_have_no_finding_about_the_older_one() -> None:
    plan = desired([ServiceEntry.parse(entry()), ServiceEntry.parse(entry())], default_policy())
    assert len(plan.objects) == 1
    assert plan.findings == {}


def test_a_manifest_that_was_never_stored_is_younger_than_one_that_was() -> None:
    plan = desired(
        [ServiceEntry.parse(entry("a")), ServiceEntry.parse(entry("b", created="2026-01-01T00:00:00Z"))],
        default_policy(),
    )
    assert [one.owner.key.name for one in plan.objects] == ["b"]


def test_entries_of_different_namespaces_do_not_share_a_host() -> None:
    entries = [ServiceEntry.parse(entry(namespace=namespace)) for namespace in ("team", "other")]
    assert len(desired(entries, default_policy()).objects) == 2


def test_an_entry_that_is_being_deleted_gets_nothing() -> None:
    manifest = entry()
    manifest["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert desired([ServiceEntry.parse(manifest)], default_policy()).objects == ()


@pytest.mark.parametrize(
    ("other", "claims"),
    [
        (virtual_service(), True),
        (virtual_service(hosts=["API.example.com."]), True),
        (virtual_service(hosts=["*.example.com"]), True),
        (virtual_service(hosts=["other.example.com"]), False),
        (virtual_service(gateways=["mesh", "edge"]), True),
        (virtual_service(gateways=["edge"]), False),
        (virtual_service(namespace="other"), True),
        (virtual_service(namespace="other", exportTo=["*"]), True),
        (virtual_service(namespace="other", exportTo=["team"]), True),
        (virtual_service(namespace="other", exportTo=["."]), False),
        (virtual_service(exportTo=["."]), True),
        (virtual_service(name="api.example.com", hosts=["unrelated.example.com"]), False),
        (virtual_service(http=[], tls=[{"match": [{"port": 443}], "route": ROUTES[0]["route"]}]), False),
        (virtual_service(hosts=["*"]), False),
        (virtual_service(exportTo=["~"]), False),
        (virtual_service(hosts=[]), False),
        (virtual_service(gateways=["mesh", "edge"], http=[{"match": [{"gateways": ["edge"]}], **ROUTES[0]}]), False),
        (virtual_service(gateways=["mesh", "edge"], http=[{"match": [{"gateways": ["mesh"]}], **ROUTES[0]}]), True),
        (http_route(), True),
        ({**http_route(), "metadata": {"name": "consumer", "namespace": "other"}}, False),
        (http_route(name="two"), False),
        (http_route(group="", kind="Service"), False),
        ({**virtual_service(), "kind": "DestinationRule"}, False),
    ],
)
def test_ours_yields_to_whatever_claims_the_host_for_the_mesh(other: dict[str, Any], claims: bool) -> None:
    assert yields_to(other) is claims


def test_our_object_is_deleted_when_another_claims_the_host_and_the_owner_gets_a_finding() -> None:
    ours = Observed.parse(desired([ServiceEntry.parse(entry())], default_policy()).objects[0].manifest)
    observed = [ours, Observed.parse(virtual_service())]
    todo = changes(desired([ServiceEntry.parse(entry())], default_policy(), observed), observed)
    assert todo.delete == (ours,)
    assert todo.apply == ()
    assert todo.foreign[0].finding.code == "SEG021"
    assert "team/theirs" in todo.foreign[0].finding.message


def test_an_edited_object_is_applied_over_what_was_observed() -> None:
    plan = desired([ServiceEntry.parse(entry())], default_policy())
    manifest = plan.objects[0].manifest
    edited = Observed.parse({**manifest, "spec": {**manifest["spec"], "exportTo": ["*"]}})
    assert changes(plan, [edited]).apply == ((plan.objects[0], edited),)


def test_a_survey_keeps_entries_of_one_name_apart_and_finds_conflicts_between_files() -> None:
    sources = [
        Sourced("a", entry(hosts=["a.example.com"])),
        Sourced("b", entry(hosts=["b.example.com"])),
        Sourced("c", entry("two", hosts=["c.example.com"])),
        Sourced("d", virtual_service(hosts=["c.example.com"])),
        Sourced("e", {"kind": "ServiceEntry", "apiVersion": "v1"}),
        Sourced("f", ["not", "an", "object"]),
    ]
    reviewed = survey(sources, default_policy())
    assert [[one.key.name for one in each.emitted] for each in reviewed] == [["a.example.com"], ["b.example.com"], []]
    assert [finding.code for finding in reviewed[2].findings] == ["SEG021"]


def test_an_emitted_object_has_a_namespace_only_if_its_entry_has_one() -> None:
    homeless = entry(hosts=["b.example.com"])
    del homeless["metadata"]["namespace"]
    named, unnamed = survey([Sourced("a", entry()), Sourced("b", homeless)], default_policy(), "elsewhere")
    assert named.objects[0]["metadata"]["namespace"] == "team"
    assert unnamed.entry.key.namespace == "elsewhere"
    assert "namespace" not in unnamed.objects[0]["metadata"]


def test_a_finding_about_two_objects_names_the_other() -> None:
    shared = [Sourced("a", entry("one")), Sourced("b", entry("two")), Sourced("c", virtual_service(hosts=["*.com"]))]
    one, two = survey(shared, default_policy())
    others = {finding.code: finding.other for each in (one, two) for finding in each.findings if finding.other}
    assert {code: (kind, str(key)) for code, (kind, key) in others.items()} == {
        "SEG021": ("VirtualService", "team/theirs"),
        "SEG022": ("ServiceEntry", "team/one"),
    }


def test_the_smallest_patch_adds_where_nothing_stands_and_replaces_where_something_does() -> None:
    assert set_resolution("DNS", present=False) == ({"op": "add", "path": "/spec/resolution", "value": "DNS"},)
    assert set_resolution("DNS", present=True) == ({"op": "replace", "path": "/spec/resolution", "value": "DNS"},)


@pytest.mark.parametrize(
    ("addresses", "warned"),
    [
        (["127.0.0.1"], False),
        (["127.8.0.1", "::1"], False),
        (["169.254.169.254", "fe80::1"], False),
        (["10.0.0.1"], True),
        (["127.0.0.1", "10.0.0.1"], True),
        (["db.example.com"], True),
        (["unix:///run/socket"], True),
        ([""], True),
    ],
)
def test_endpoints_that_never_move_are_not_warned_of_but_noted(addresses: list[str], warned: bool) -> None:
    endpoints = [{"address": address} for address in addresses]
    manifest = entry(resolution="STATIC", endpoints=endpoints)
    verdict = review(ServiceEntry.parse(manifest), default_policy())
    assert (verdict.codes, bool(verdict.warnings)) == (("SEG011",), warned)
    denying = parse_policy({**IDENTITY, "resolution": {"static": "Deny"}})
    assert review(ServiceEntry.parse(manifest), denying).codes == ("SEG011",)


@pytest.mark.parametrize(
    ("host", "location", "said"),
    [
        ("reviews.default.svc.cluster.local", "MESH_EXTERNAL", "is the name of a Kubernetes Service"),
        ("reviews.default.svc.cluster.local", "MESH_INTERNAL", "is the name of a Kubernetes Service"),
        ("redis-0.redis.mq.svc.cluster.local", "MESH_EXTERNAL", "is the name of a Kubernetes Pod"),
        ("redis-0.redis.mq.svc.cluster.local", "MESH_INTERNAL", None),
        ("redis-0.redis.mq.svc", "MESH_EXTERNAL", "is the name of a Kubernetes Pod"),
    ],
)
def test_a_name_of_the_cluster_has_a_finding_that_says_which_kind_it_is(
    host: str, location: str, said: str | None
) -> None:
    policy = parse_policy({**IDENTITY, "scope": {"locations": ["MESH_EXTERNAL", "MESH_INTERNAL"]}})
    verdict = review(ServiceEntry.parse(entry(hosts=[host], location=location)), policy)
    found = [finding for finding in verdict.findings if finding.code == "SEG025"]
    assert [said in finding.message for finding in found if said] == [True] * bool(said)
    assert len(found) == bool(said)
    assert all(("MESH_INTERNAL" in finding.remedy) is ("Pod" in finding.message) for finding in found)


@pytest.mark.parametrize("tcp", ["Leave", "DNS"])
@pytest.mark.parametrize("ports", [[], [{"number": 22, "name": "ssh", "protocol": "TCP"}]], ids=["none", "tcp"])
@pytest.mark.parametrize("spec", [{"hosts": ["*.example.com"]}, {"addresses": ["192.0.2.0/24"]}])
def test_an_entry_with_tcp_ports_or_none_is_never_rejected_for_its_hosts_or_addresses(
    spec: dict[str, Any], ports: list[Any], tcp: str
) -> None:
    policy = parse_policy({**IDENTITY, "resolution": {"tcp": tcp}})
    verdict = review(ServiceEntry.parse(entry(resolution="NONE", ports=ports, **spec)), policy)
    assert (verdict.codes, verdict.patch) == (("SEG016",), ())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("api.example.com", HostKind.FQDN),
        ("a" * 63 + ".example", HostKind.FQDN),
        ("a" * 64 + ".example", HostKind.INVALID),
        (".".join(["a" * 60] * 4), HostKind.FQDN),
        (".".join(["a" * 62] * 5), HostKind.INVALID),
        ("*.com", HostKind.WILDCARD),
        ("*-a.example.com", HostKind.WILDCARD),
        ("*a", HostKind.WILDCARD),
        ("*", HostKind.INVALID),
        ("*-", HostKind.INVALID),
        ("*-.com", HostKind.INVALID),
        ("a*.example.com", HostKind.INVALID),
        ("localhost", HostKind.INVALID),
        ("192.0.2.1", HostKind.INVALID),
        ("a..b", HostKind.INVALID),
        ("-a.b", HostKind.INVALID),
        ("\u212aelvin.example.com", HostKind.INVALID),
    ],
)
def test_hosts_are_what_istio_takes_them_for(text: str, kind: HostKind) -> None:
    assert Host.parse(text).kind is kind


def test_hosts_that_would_share_a_name_get_different_ones() -> None:
    assert object_name("*.example.com") == "wildcard.example.com"
    assert object_name("wildcard.example.com") == "wildcard-host-wildcard.example.com"
    assert object_name("*-a.example.com") == "wildcard-any--a.example.com"
    long = "*." + ".".join(["a" * 60] * 4) + ".abcdef"
    assert len(long) <= 253
    assert len(object_name(long)) == len("wildcard-long-") + 64
    plain = ".".join(["a" * 62] * 4)
    assert (len(plain), object_name(plain)) == (251, plain)
    assert len(object_name(f"a{plain}")) == len("wildcard-long-") + 64


def test_overrides_that_the_policy_forbids_are_refused_each() -> None:
    policy = parse_policy(
        {**IDENTITY, "virtualService": {"overrides": {"attempts": None, "perTryTimeout": None, "retryOn": None}}}
    )
    manifest = entry()
    manifest["metadata"]["annotations"] = {
        "serviceentry-guard.io/attempts": "1",
        "serviceentry-guard.io/per-try-timeout": "1s",
        "serviceentry-guard.io/retry-on": "5xx",
    }
    verdict = review(ServiceEntry.parse(manifest), policy)
    assert [finding.message for finding in verdict.errors] == [
        f'"{value}" has no effect: the policy forbids this annotation' for value in ("1", "1s", "5xx")
    ]


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        ("attempts", "three", "is not a whole number"),
        ("attempts", "11", "is outside 0 to 10, the bounds of the policy"),
        ("timeout", "9h", "is outside 10ms to 5m, the bounds of the policy"),
        ("timeout", "soon", "must be a duration such as"),
        ("retry-on", "5xx,never", 'contains "never"; the policy allows'),
        ("virtual-service", "Off", "has no effect: the only value is Disabled"),
    ],
)
def test_an_override_out_of_bounds_is_refused_and_the_bound_is_named(annotation: str, value: str, message: str) -> None:
    manifest = entry()
    manifest["metadata"]["annotations"] = {f"serviceentry-guard.io/{annotation}": value}
    verdict = review(ServiceEntry.parse(manifest), default_policy())
    assert not verdict.allowed
    assert message in verdict.denial
    assert f'metadata.annotations["serviceentry-guard.io/{annotation}"]' in verdict.denial


def test_an_annotation_far_from_any_name_is_answered_with_all_the_names() -> None:
    manifest = entry()
    manifest["metadata"]["annotations"] = {"serviceentry-guard.io/zzz": "", "serviceentry-guard.io/yyy": ""}
    (finding,) = review(ServiceEntry.parse(manifest), default_policy()).findings
    assert "the annotations are exempt, exempt-until, attempts" in finding.message
    assert finding.message.endswith("(and 1 more)")


def test_an_authors_text_is_repeated_printable_and_cut() -> None:
    assert printable("a\nb\ud800\x1b") == "a?b??"
    assert printable("x" * 100) == "x" * 60 + "…"


def test_a_warning_longer_than_kubernetes_takes_is_cut() -> None:
    manifest = entry(ports=[{"number": 1, "name": "x", "protocol": "\U0001f600" * 60}], resolution="NONE")
    manifest["spec"]["hosts"] = ["a.example.com", "b.example.com"]
    manifest["metadata"]["annotations"] = {"serviceentry-guard.io/" + "\u4e00" * 60: ""}
    warnings = review(ServiceEntry.parse(manifest), default_policy()).warnings
    assert any(warning.endswith("…") and len(warning.encode()) <= 256 for warning in warnings)


def test_only_istios_own_kind_is_a_service_entry() -> None:
    assert is_service_entry(entry())
    assert is_service_entry({**entry(), "apiVersion": "networking.istio.io/v1alpha3"})
    assert not is_service_entry({**entry(), "apiVersion": "example.com/v1"})
    assert not is_service_entry({**entry(), "kind": "Service"})
    assert not is_service_entry(None)


def test_a_key_is_spelled_as_kubectl_spells_it() -> None:
    assert str(Key("team", "one")) == "team/one"
