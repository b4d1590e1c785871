"""Entries in an ambient mesh: which waypoint serves one, who sees what is emitted for it, and what is said of it."""

from typing import Any

import pytest

from app.controller.verdict_cache import VerdictCache
from app.core.resources.ambient import NOTHING, Ambient
from app.core.resources.fields import JSON
from app.core.resources.namespaces import Namespace, is_namespace, waypoint_of
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.index import Index
from app.core.routes.observed import Observed
from app.core.routes.plan import Plan, changes, desired, desired_at
from app.core.routes.survey import Reviewed, Sourced, survey
from app.core.routes.virtual_service import SEMANTICS
from app.core.routes.waypoints import at_waypoint
from app.core.rules.kept_resolutions import as_document, parse_standing
from app.core.rules.siblings import beside, slipped
from app.core.rules.verdict import review
from tests.builders import HOST, HTTP, TCP, manifest, policy, virtual_service

WAYPOINT = {"istio.io/use-waypoint": "waypoint"}
GATEWAYS = {**WAYPOINT, "istio.io/use-waypoint-namespace": "gateways"}
EDGE = {**WAYPOINT, "istio.io/use-waypoint-namespace": "edge"}
NONE = {"istio.io/use-waypoint": "none"}
AMBIENT = {"istio.io/dataplane-mode": "ambient"}
INJECTED = {"istio-injection": "enabled"}
NAME = Key("team", HOST)


def status(message: str, value: str = "True", **fields: Any) -> JSON:
    return {"conditions": [{"type": "istio.io/WaypointBound", "status": value, "message": message, **fields}]}


BOUND = status("Successfully attached to waypoint gateways/waypoint. Ingress traffic will traverse the waypoint")
REFUSED = status("waypoint does not allow it", "False", reason="AttachmentDenied")


def entry(*arguments: str, status: JSON = None, **fields: Any) -> ServiceEntry:
    return ServiceEntry.parse({**manifest(*arguments, **fields), "status": status})


def namespace(name: str, labels: JSON = None) -> Namespace:
    return Namespace.parse({"metadata": {"name": name, "labels": labels}})


def plan(*entries: ServiceEntry, spaces: Any = (), beside: Any = (), **document: Any) -> Plan:
    return desired(entries, policy(**document), map(Observed.parse, beside), spaces)


def export_to(made: Plan) -> list[Any]:
    return [one.manifest["spec"].get("exportTo") for one in made.objects]


def codes(made: Plan) -> list[str]:
    return [one.code for one in made.findings.get(Key("team", "api"), ())]


@pytest.mark.parametrize(
    ("labels", "stored", "namespace_labels", "waypoint"),
    [
        ({}, None, {}, None),
        (WAYPOINT, None, {}, Key("team", "waypoint")),
        (GATEWAYS, None, {}, Key("gateways", "waypoint")),
        (WAYPOINT, None, GATEWAYS, Key("team", "waypoint")),
        ({}, None, GATEWAYS, Key("gateways", "waypoint")),
        (NONE, BOUND, GATEWAYS, None),
        ({}, BOUND, NONE, None),
        ({}, BOUND, {}, Key("gateways", "waypoint")),
        ({}, BOUND, None, Key("gateways", "waypoint")),
        (GATEWAYS, REFUSED, {}, None),
        ({}, status("Successfully attached to waypoint "), {}, None),
        ({}, status("another message"), {}, None),
    ],
)
def test_an_entry_is_bound_by_its_labels_else_by_those_of_its_namespace_else_as_its_status_says(
    labels: dict[str, str], stored: JSON, namespace_labels: JSON, waypoint: Key | None
) -> None:
    home = None if namespace_labels is None else namespace("team", namespace_labels)
    assert waypoint_of(entry(labels=labels, status=stored), home) == waypoint


@pytest.mark.parametrize(
    "stored",
    [
        None,
        1,
        [],
        {"conditions": 1},
        {"conditions": [1, {"type": 1}, {"type": "istio.io/WaypointBound", "message": 1}]},
    ],
)
def test_a_status_of_another_shape_says_nothing(stored: JSON) -> None:
    found = entry(status=stored)
    assert (found.ambient, found.problems) == (NOTHING, ())
    assert Ambient.read({"istio.io/use-waypoint": 1}) == NOTHING
    assert Ambient.read(1) == NOTHING


@pytest.mark.parametrize(
    ("labels", "injected"),
    [
        (None, False),
        (INJECTED, True),
        ({"istio-injection": "disabled"}, False),
        ({"istio.io/rev": "stable"}, True),
    ],
)
def test_labels_say_whether_pods_of_a_namespace_get_a_sidecar(labels: JSON, injected: bool) -> None:
    assert namespace("team", labels).injected is injected


def test_a_namespace_is_known_by_its_kind() -> None:
    assert is_namespace({"apiVersion": "v1", "kind": "Namespace"})
    assert not is_namespace({"apiVersion": "example.com/v1", "kind": "Namespace"})
    assert not is_namespace([])


def test_the_virtual_service_of_a_private_entry_is_exported_to_the_waypoints_namespace() -> None:
    made = plan(entry(labels=GATEWAYS, exportTo=["."]), spaces=[namespace("gateways")])
    assert export_to(made) == [[".", "gateways"]]
    assert [SEMANTICS in one.manifest["metadata"]["annotations"] for one in made.objects] == [False]
    assert codes(made) == []


@pytest.mark.parametrize("labels", [INJECTED, {"istio.io/rev": "stable"}, None])
def test_where_sidecars_may_be_it_has_the_semantics_of_an_http_route(labels: JSON) -> None:
    spaces = [] if labels is None else [namespace("gateways", labels)]
    made = plan(entry(labels=GATEWAYS, exportTo=["."]), spaces=spaces)
    assert export_to(made) == [[".", "gateways"]]
    assert [one.manifest["metadata"]["annotations"][SEMANTICS] for one in made.objects] == ["gateway"]
    assert codes(made) == []


def test_without_port_80_no_sidecar_is_led_anywhere_and_the_semantics_are_the_usual_ones() -> None:
    port = {**HTTP, "number": 8080}
    made = plan(entry(labels=GATEWAYS, exportTo=["."], ports=[port]), spaces=[namespace("gateways", INJECTED)])
    assert export_to(made) == [[".", "gateways"]]
    assert [SEMANTICS in one.manifest["metadata"]["annotations"] for one in made.objects] == [False]


def test_a_wildcard_is_not_exported_to_a_namespace_with_sidecars_and_has_a_finding() -> None:
    wild = {"hosts": ["*.example.com"], "resolution": "DYNAMIC_DNS"}
    one = entry(labels=GATEWAYS, exportTo=["."], **wild)
    made = plan(one, spaces=[namespace("gateways", INJECTED)])
    assert export_to(made) == [["."]]
    assert codes(made) == ["SEG060"]
    assert export_to(plan(one, spaces=[namespace("gateways")])) == [[".", "gateways"]]


def test_a_public_virtual_service_keeps_its_export_to() -> None:
    assert export_to(plan(entry(labels=GATEWAYS), spaces=[namespace("gateways")])) == [None]
    assert export_to(plan(entry(labels=GATEWAYS, exportTo=["*"]))) == [["*"]]


def test_a_waypoint_of_its_own_namespace_sees_it_anyway() -> None:
    assert export_to(plan(entry(labels=WAYPOINT, exportTo=["."]))) == [["."]]


def test_a_waypoint_in_its_own_namespace_is_added_to_export_to() -> None:
    made = plan(entry(labels=WAYPOINT, exportTo=["reports"]), spaces=[namespace("team")])
    assert export_to(made) == [["reports", "."]]


def test_an_entry_out_of_reach_of_sidecars_is_emitted_for_the_waypoint() -> None:
    confined = {"virtualService": {"reach": "Namespace"}}
    made = plan(entry(labels=GATEWAYS, exportTo=["reports"]), spaces=[namespace("gateways")], **confined)
    assert export_to(made) == [["gateways"]]


def test_export_to_follows_the_waypoint_label_of_the_namespace() -> None:
    index = Index(policy())
    index.put_entry(None, entry(exportTo=["."]))
    index.put_entry(None, entry("other", "elsewhere", exportTo=["."]))
    seen = []
    for labels in (None, GATEWAYS, {**GATEWAYS, "istio.io/use-waypoint-namespace": "edge"}, {}):
        known = None if labels is None else namespace("team", labels)
        assert index.put_namespace("team", known) == ({NAME} if labels is not None else set())
        seen += export_to(desired_at(NAME, index.neighbours(NAME)))
    assert seen == [["."], [".", "gateways"], [".", "edge"], ["."]]


def test_sidecars_in_the_waypoints_namespace_change_the_emitted_objects() -> None:
    index = Index(policy())
    index.put_entry(None, entry(labels=GATEWAYS, exportTo=["."]))
    assert index.put_namespace("gateways", namespace("gateways")) == {NAME}
    assert index.put_namespace("gateways", namespace("gateways", AMBIENT)) == set()
    plain = index.neighbours(NAME)
    assert index.put_namespace("gateways", namespace("gateways", INJECTED)) == {NAME}
    assert index.neighbours(NAME).waypoints != plain.waypoints
    stored = [Observed.parse(one.manifest) for one in desired_at(NAME, plain).objects]
    todo = changes(desired_at(NAME, index.neighbours(NAME)), stored)
    assert [SEMANTICS in one.manifest["metadata"]["annotations"] for one, _ in todo.apply] == [True]
    assert index.put_namespace("gateways", None) == set()


WILD: dict[str, Any] = {"hosts": ["*.example.com"], "resolution": "DYNAMIC_DNS", "exportTo": ["."]}


@pytest.mark.parametrize(
    ("exact", "seen"),
    [
        (entry("exact", labels=GATEWAYS, exportTo=["."]), [["."]]),
        (entry("exact"), [["."]]),
        (entry("exact", exportTo=[".", "gateways", "reports"]), [[".", "reports"]]),
        (entry("exact", "gateways"), []),
        (entry("exact", "reports"), [["."]]),
    ],
)
def test_the_waypoint_of_a_wildcard_is_not_in_export_to_of_a_host_beneath_it(
    exact: ServiceEntry, seen: list[Any]
) -> None:
    wild = entry("wild", labels=GATEWAYS, **WILD)
    made = plan(wild, exact, spaces=[namespace("gateways"), namespace("team")])
    assert [one.manifest["spec"].get("exportTo") for one in made.objects if one.host == HOST] == seen
    told = [one.code for one in made.findings.get(exact.key, ()) if one.code == "SEG061"]
    assert told == ([] if exact.key.namespace == "reports" else ["SEG061"])


def test_a_host_beneath_a_wildcard_is_seen_at_a_waypoint_of_its_own() -> None:
    wild, exact = entry("wild", labels=GATEWAYS, **WILD), entry(labels=EDGE, exportTo=["."])
    made = plan(wild, exact, spaces=[namespace("gateways"), namespace("edge")])
    assert [one.manifest["spec"]["exportTo"] for one in made.objects if one.host == HOST] == [[".", "edge"]]
    assert codes(made) == []


def test_a_host_is_decided_again_when_a_wildcard_over_it_is_bound_to_a_waypoint() -> None:
    index = Index(policy())
    index.put_entry(None, entry())
    wild = entry("wild", **WILD)
    index.put_entry(None, wild)
    bound = entry("wild", labels=GATEWAYS, **WILD)
    assert NAME in index.put_entry(wild, bound)
    assert NAME in index.put_namespace("gateways", namespace("gateways"))


def test_the_last_label_of_a_namespace_that_goes_counts_no_more() -> None:
    index = Index(policy())
    index.put_namespace("team", namespace("team", GATEWAYS))
    index.put_entry(None, entry(exportTo=["."], hosts=[HOST, "*"]))
    assert index.put_namespace("team", None) == {NAME}
    assert index.bindings.waypoint(entry()) is None


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        (virtual_service(namespace="gateways", exportTo=["."]), ["SEG057"]),
        (virtual_service(namespace="gateways", hosts=["*.example.com"], exportTo=["."]), ["SEG057"]),
        (virtual_service(exportTo=["gateways"]), ["SEG057"]),
        (virtual_service(namespace="reports", exportTo=["gateways"]), []),
        (virtual_service(namespace="gateways", exportTo=["reports"]), []),
    ],
)
def test_it_is_not_exported_where_another_object_comes_before_it(beside: JSON, told: list[str]) -> None:
    made = plan(entry(labels=GATEWAYS, exportTo=["."]), spaces=[namespace("gateways")], beside=[beside])
    assert export_to(made) == [["."] if "SEG057" in told else [".", "gateways"]]
    assert codes(made) == told


def test_an_http_route_of_the_waypoints_namespace_on_the_entry_comes_before_it() -> None:
    parent = {"group": "networking.istio.io", "kind": "ServiceEntry", "name": "api", "namespace": "team"}
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "canary", "namespace": "gateways"},
        "spec": {"parentRefs": [parent], "rules": [{}]},
    }
    made = plan(entry(labels=GATEWAYS, exportTo=["."]), spaces=[namespace("gateways")], beside=[route])
    assert (export_to(made), codes(made)) == ([["."]], ["SEG057"])
    assert "HTTPRoute gateways/canary" in made.findings[Key("team", "api")][0].message


def test_a_destination_rule_that_the_waypoint_does_not_see_has_a_finding() -> None:
    rule = {"destinationRule": {"enabled": True}}
    spaces = [namespace("gateways")]
    made = plan(entry(labels=GATEWAYS, exportTo=["."]), spaces=spaces, **rule)
    assert (export_to(made), codes(made)) == ([[".", "gateways"], ["."]], ["SEG058"])
    assert codes(plan(entry(labels=GATEWAYS, exportTo=[".", "gateways"]), spaces=spaces, **rule)) == []


def reviewed(*documents: JSON, **document: Any) -> list[Reviewed]:
    return list(survey([Sourced("test", one) for one in documents], policy(**document)))


def space(name: str, **labels: str) -> JSON:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def test_a_host_that_a_waypoint_serves_for_two_namespaces_keeps_its_resolution_and_both_are_named() -> None:
    first = manifest(labels=GATEWAYS, resolution="NONE")
    second = manifest("their-api", "reports", resolution="NONE", exportTo=["."])
    one, other = reviewed(first, second, space("reports", **GATEWAYS))
    assert [(each.outcome, each.entry.key) for each in (one, other)] == [
        ("allowed", Key("team", "api")),
        ("allowed", Key("reports", "their-api")),
    ]
    messages = [[found.message for found in each.findings if found.code == "SEG059"] for each in (one, other)]
    assert "ServiceEntry reports/their-api too, so resolution stays NONE" in messages[0][0]
    assert "ServiceEntry team/api too, so resolution stays NONE" in messages[1][0]


def test_the_webhook_keeps_the_resolution_where_the_controller_says_that_a_waypoint_is_shared() -> None:
    one, other = entry(labels=GATEWAYS, resolution="NONE"), entry("api", "reports", labels=GATEWAYS)
    index = Index(policy())
    for each in (one, other):
        index.put_entry(None, each)
    judge = VerdictCache(at_waypoint=lambda each, verdict, known: at_waypoint(each, verdict, index.bindings, known))
    judge.reconsider({one.key: one}, policy())
    known = parse_standing(as_document(judge.standing()))
    verdict = beside(review(one, policy()), one, known, policy())
    assert (verdict.patch, verdict.codes) == ((), ("SEG059",))
    assert verdict.findings == judge(one, policy()).findings
    changed = entry(labels=GATEWAYS)
    assert slipped(None, changed, judge.stays_at(changed), policy()) == "NONE"


def test_an_entry_with_resolution_dns_has_a_finding_and_keeps_dns() -> None:
    one, other = reviewed(manifest(labels=GATEWAYS), manifest("api", "reports", labels=GATEWAYS))
    assert [found.code for found in one.findings if found.code == "SEG059"] == ["SEG059"]
    assert "stays" not in other.findings[0].message


def test_entries_of_one_namespace_and_of_other_waypoints_share_nothing() -> None:
    alike = [manifest("one", labels=GATEWAYS), manifest("two", labels=GATEWAYS)]
    elsewhere = manifest("api", "reports", labels=WAYPOINT)
    assert [found.code for one in reviewed(*alike, elsewhere) for found in one.findings if found.code == "SEG059"] == []


def test_who_shares_a_waypoint_no_more_is_looked_at_again() -> None:
    index = Index(policy())
    one, other = entry(labels=GATEWAYS), entry("api", "reports", labels=GATEWAYS)
    index.put_entry(None, one)
    assert index.bindings.touched() == set()
    index.put_entry(None, other)
    assert index.bindings.touched() == {one.key}
    assert index.bindings.shared(one) == (HOST, Key("gateways", "waypoint"), other.key)
    index.put_entry(other, None)
    assert index.bindings.touched() == {one.key}
    assert index.bindings.shared(one) is None
    assert index.bindings.touched() == set()


def test_an_entry_of_the_namespace_is_looked_at_again_when_the_namespace_joins_the_ambient_mesh() -> None:
    index = Index(policy())
    index.put_entry(None, entry())
    index.put_namespace("team", namespace("team", AMBIENT))
    assert index.bindings.touched() == {Key("team", "api")}
    index.put_namespace("team", namespace("team", {**AMBIENT, **INJECTED}))
    assert index.bindings.touched() == set()


@pytest.mark.parametrize(
    ("fields", "home", "found"),
    [
        ({}, None, []),
        ({}, {}, []),
        ({}, AMBIENT, ["warning SEG053 spec.ports[0].protocol"]),
        ({"ports": [TCP]}, AMBIENT, []),
        ({"labels": NONE}, None, ["info SEG053 spec.ports[0].protocol"]),
        ({}, NONE, ["info SEG053 spec.ports[0].protocol"]),
        ({"labels": WAYPOINT}, AMBIENT, []),
        ({}, {**AMBIENT, **WAYPOINT}, []),
        ({"labels": WAYPOINT, "resolution": "NONE"}, None, ["warning SEG055 spec.resolution"]),
        ({"resolution": "NONE"}, WAYPOINT, ["warning SEG055 spec.resolution"]),
        ({"labels": WAYPOINT, "resolution": "NONE", "addresses": ["192.0.2.1"]}, None, []),
        ({"labels": WAYPOINT, "status": REFUSED}, AMBIENT, ["warning SEG056 status.conditions"]),
        ({"hosts": ["*.example.com"], "resolution": "DYNAMIC_DNS"}, AMBIENT, ["warning SEG054 metadata.labels"]),
        ({"hosts": ["*.example.com"], "resolution": "NONE"}, WAYPOINT, ["warning SEG054 spec.resolution"]),
        ({"hosts": ["*.example.com"], "resolution": "DYNAMIC_DNS", "labels": WAYPOINT}, None, []),
        (
            {
                "hosts": ["*.example.com"],
                "resolution": "DYNAMIC_DNS",
                "labels": WAYPOINT,
                "ports": [HTTP, {"number": 90, "name": "grpc", "protocol": "GRPC"}],
            },
            None,
            ["warning SEG054 spec.ports[1].protocol"],
        ),
    ],
)
def test_each_obstacle_to_retries_at_a_waypoint_is_one_finding(
    fields: dict[str, Any], home: JSON, found: list[str]
) -> None:
    one, index, warn = entry(**fields), Index(policy(mode="Warn")), policy(mode="Warn")
    index.put_entry(None, one)
    if home is not None:
        index.put_namespace("team", namespace("team", home))
    verdict = at_waypoint(one, review(one, warn), index.bindings, warn)
    codes = ("SEG053", "SEG054", "SEG055", "SEG056")
    told = [f"{each.severity.value} {each.code} {each.path}" for each in verdict.findings if each.code in codes]
    assert told == found
    alone = [each.code for each in review(one, warn).findings if each.code in codes]
    assert alone == (
        [] if home and not fields.get("labels") and "status" not in fields else [each[-6:] for each in alone]
    )


def test_an_entry_that_becomes_dns_comes_to_its_waypoint() -> None:
    (one,) = reviewed(manifest(labels=WAYPOINT, resolution="NONE"))
    assert (one.outcome, [found.code for found in one.findings]) == ("changed", ["SEG003"])
    (one,) = reviewed(manifest(resolution="NONE"), space("team", **AMBIENT))
    assert [found.code for found in one.findings] == ["SEG003", "SEG053"]


@pytest.mark.parametrize(
    "document",
    [{"mode": "Off"}, {"scope": {"excludedNamespaces": ["team"]}}, {"exemptions": {"namespaces": ["team"]}}],
)
def test_entries_that_the_guard_ignores_have_no_waypoint_finding(document: dict[str, Any]) -> None:
    (one,) = reviewed(manifest(resolution="NONE"), space("team", **AMBIENT), **document)
    assert "SEG053" not in [found.code for found in one.findings]


def test_labels_of_the_entry_are_not_copied_and_not_changed() -> None:
    strategy = {"istio.io/connect-strategy": "RACE_FIRST_CONNECT"}
    document = manifest(labels={**GATEWAYS, "app": "partner"}, resolution="NONE")
    document["metadata"]["annotations"] |= strategy
    (one,) = reviewed(document)
    assert one.stored["metadata"] == document["metadata"]
    assert all(label not in one.objects[0]["metadata"]["labels"] for label in document["metadata"]["labels"])
