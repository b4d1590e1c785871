"""What istiod gives a waypoint for the entries that it serves: the recipe, and nothing that leads a call elsewhere."""

from collections.abc import Sequence
from typing import Any

import pytest

from app.core.policy.model import GuardPolicy, default_policy
from app.core.policy.reader import parse_policy
from app.core.routes.virtual_service import SEMANTICS
from tests.builders import IDENTITY
from tests.harm.envoy import Call, Side, Speech
from tests.harm.generator import Generator
from tests.harm.guarded import Change, change, dated
from tests.harm.protocol import Description, Manifest, Proxy, Route
from tests.harm.test_rule import HOST, HTTP, made
from tests.harm.trial import harms_in_every_world
from tests.harm.waypoints import ask, bound, proxy, routes_of, space, waypoint

HOME, GATEWAYS = "team", "gateways"
CONDITIONS = {"gateway-error", "connect-failure", "refused-stream", "5xx"}
GRPC = {"number": 9090, "name": "grpc", "protocol": "GRPC"}
SECOND = {"number": 8080, "name": "http-second", "protocol": "HTTP"}
PRIVATE: dict[str, Any] = {"exportTo": ["."]}
INJECTED = {"istio-injection": "enabled"}
SENTINEL = made(
    "ServiceEntry",
    "other",
    GATEWAYS,
    hosts=["other.example.net"],
    ports=[HTTP],
    resolution="DNS",
    location="MESH_INTERNAL",
)
"""Gives sidecars a listener on port 80, and nothing is emitted for it: without one, no route counts there."""


def entry(*ports: Manifest, namespace: str = HOME, labels: dict[str, str] | None = None, **spec: Any) -> Manifest:
    given = {"hosts": [HOST], "ports": list(ports) or [HTTP], "resolution": "NONE", **spec}
    document = made("ServiceEntry", "api", namespace, **given)
    return {**document, "metadata": {**document["metadata"], "labels": labels or {}}}


def elsewhere(**labels: str) -> list[Manifest]:
    """A waypoint in a namespace of its own."""
    return [*waypoint(GATEWAYS), space(GATEWAYS, **labels), space(HOME), SENTINEL]


def guarded(*documents: Manifest, policy: GuardPolicy | None = None) -> Change:
    return change(documents, policy or default_policy())


def after(ambient: Generator, done: Change, host: str = HOST, port: int = 80, at: str = GATEWAYS) -> Sequence[Route]:
    """Return the routes of a waypoint once the guard was there."""
    (found,) = ask(ambient, done.after, proxy(at))
    return routes_of(found, host, port)


def repeats_resets(routes: Sequence[Route]) -> bool:
    return all(one.retry is not None and {*one.retry.on} >= CONDITIONS and one.retry.attempts == 3 for one in routes)


def test_a_waypoint_of_the_entrys_namespace_has_the_recipe(ambient: Generator) -> None:
    done = guarded(entry(labels=bound(), **PRIVATE), *waypoint(HOME), space(HOME))
    assert repeats_resets(after(ambient, done, at=HOME))


def test_a_waypoint_of_another_namespace_has_the_recipe_for_a_private_entry(ambient: Generator) -> None:
    done = guarded(entry(labels=bound(GATEWAYS), **PRIVATE), *elsewhere())
    assert repeats_resets(after(ambient, done))


def test_without_the_waypoints_namespace_in_export_to_it_has_not(ambient: Generator) -> None:
    done = guarded(entry(labels=bound(GATEWAYS), **PRIVATE), *elsewhere())
    (emitted,) = done.emitted
    unseen = {**emitted, "spec": {**emitted["spec"], "exportTo": ["."]}}
    (found,) = ask(ambient, [*(one for one in done.after if one is not emitted), unseen], proxy(GATEWAYS))
    assert not repeats_resets(routes_of(found, HOST))


def test_after_the_label_moves_the_other_waypoint_has_the_recipe(ambient: Generator) -> None:
    others = [*elsewhere(), *waypoint("edge", 2), space("edge")]
    first = [*others[:-3], entry(**PRIVATE), *others[-3:]]
    before = guarded(*(one for one in first if one != space(HOME)), space(HOME, **bound(GATEWAYS)))
    moved = guarded(*(one for one in first if one != space(HOME)), space(HOME, **bound("edge")))
    assert repeats_resets(after(ambient, before))
    (found,) = ask(ambient, moved.after, proxy("edge", 2))
    assert repeats_resets(routes_of(found, HOST))


def test_both_ports_have_the_recipe_each_for_itself(ambient: Generator) -> None:
    done = guarded(entry(HTTP, SECOND, labels=bound(GATEWAYS), **PRIVATE), *elsewhere())
    for port in (80, 8080):
        routes = after(ambient, done, port=port)
        assert repeats_resets(routes)
        assert [one.clusters[0].cluster for one in routes] == [f"inbound-vip|{port}|http|{HOST}"]


def test_a_grpc_port_has_the_recipe_without_a_deadline(ambient: Generator) -> None:
    routes = after(ambient, guarded(entry(GRPC, labels=bound(GATEWAYS), **PRIVATE), *elsewhere()), port=9090)
    assert repeats_resets(routes)
    assert [{"unavailable", "cancelled"} <= {*one.retry.on} for one in routes if one.retry] == [True]
    assert [one.timeout for one in routes] == [0.0]


def test_an_entry_with_dns_round_robin_has_the_recipe(ambient: Generator) -> None:
    done = guarded(entry(labels=bound(GATEWAYS), **{**PRIVATE, "resolution": "DNS_ROUND_ROBIN"}), *elsewhere())
    assert repeats_resets(after(ambient, done))


def test_a_wildcard_host_has_the_recipe(ambient: Generator) -> None:
    policy = parse_policy({**IDENTITY, "resolution": {"wildcards": "DynamicDNS"}})
    wild = {**PRIVATE, "hosts": ["*.example.com"]}
    done = guarded(entry(labels=bound(GATEWAYS), **wild), *elsewhere(), policy=policy)
    assert repeats_resets(after(ambient, done, "*.example.com"))


def theirs(namespace: str, *routes: Manifest, **spec: Any) -> Manifest:
    to_host = {"route": [{"destination": {"host": HOST}}], "timeout": "7s"}
    return made("VirtualService", "theirs", namespace, hosts=[HOST], http=[*routes, to_host], **spec)


def test_of_two_virtual_services_the_one_of_the_waypoints_namespace_stays_in_force(ambient: Generator) -> None:
    done = guarded(entry(labels=bound(GATEWAYS), **PRIVATE), *elsewhere(), theirs(GATEWAYS, exportTo=["."]))
    assert [one["spec"]["exportTo"] for one in done.emitted] == [["."]]
    assert [one.timeout for one in after(ambient, done)] == [7.0]


def test_of_two_virtual_services_for_the_entrys_namespace_the_teams_stays_in_force(ambient: Generator) -> None:
    done = guarded(entry(labels=bound(GATEWAYS), **PRIVATE), *elsewhere(), theirs(HOME, exportTo=[".", GATEWAYS]))
    assert done.emitted == []
    assert [one.timeout for one in after(ambient, done)] == [7.0]


def http_route(namespace: str = HOME) -> Manifest:
    parent = {"group": "networking.istio.io", "kind": "ServiceEntry", "name": "api", "namespace": HOME}
    to_host = {"group": "networking.istio.io", "kind": "Hostname", "name": HOST, "port": 80}
    versioned = {"matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}], "timeouts": {"request": "9s"}}
    rules = [{**versioned, "backendRefs": [to_host]}, {"backendRefs": [to_host]}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "route", "namespace": namespace},
        "spec": {"parentRefs": [parent], "rules": rules},
    }


@pytest.mark.parametrize("namespace", [HOME, GATEWAYS])
def test_an_http_route_on_the_entry_stays_in_force_at_the_waypoint(ambient: Generator, namespace: str) -> None:
    resolved = {**PRIVATE, "resolution": "DNS"}
    done = guarded(entry(labels=bound(GATEWAYS), **resolved), *elsewhere(), http_route(namespace))
    before, now = (ask(ambient, objects, proxy(GATEWAYS))[0] for objects in (done.before, done.after))
    assert routes_of(now, HOST) == routes_of(before, HOST)
    assert [one.timeout for one in routes_of(now, HOST)][:1] == [9.0]


def test_an_http_route_on_the_entry_would_be_dead_beside_the_recipe(ambient: Generator) -> None:
    """Why the guard yields to it: as by hand, whatever the age."""
    resolved = {**PRIVATE, "resolution": "DNS"}
    done = guarded(entry(labels=bound(GATEWAYS), **resolved), *elsewhere())
    (found,) = ask(ambient, [*done.after, http_route()], proxy(GATEWAYS))
    first, *_ = routes_of(found, HOST)
    assert (first.match, first.timeout) == ('{"prefix":"/"}', 30.0)


def port_80(sidecar: Description) -> str:
    """Say what a sidecar makes of a call to the host on port 80."""
    side = Side.of(sidecar, Call(80, Speech.HTTP, HOST))
    return side.virtual_host.name if side.virtual_host else ""


@pytest.mark.parametrize("labels", [INJECTED, {"istio.io/rev": "stable"}])
def test_a_sidecar_beside_the_waypoint_is_led_nowhere(ambient: Generator, labels: dict[str, str]) -> None:
    done = guarded(entry(labels=bound(GATEWAYS), **PRIVATE), *elsewhere(**labels))
    (emitted,) = done.emitted
    at, beside, home = ask(ambient, done.after, proxy(GATEWAYS), Proxy(namespace=GATEWAYS), Proxy(namespace=HOME))
    assert emitted["metadata"]["annotations"][SEMANTICS] == "gateway"
    assert repeats_resets(routes_of(at, HOST))
    assert port_80(beside) == "allow_any"
    assert port_80(home) == f"{HOST}:80"
    assert repeats_resets(Side.of(home, Call(80, Speech.HTTP, HOST)).virtual_host.routes)  # type: ignore[union-attr]


def test_by_hand_a_sidecar_beside_the_waypoint_is_led_to_a_cluster_that_it_lacks(ambient: Generator) -> None:
    """Why the VirtualService has the semantics of an HTTPRoute there."""
    done = guarded(entry(labels=bound(GATEWAYS), **PRIVATE), *elsewhere())
    (beside,) = ask(ambient, done.after, Proxy(namespace=GATEWAYS))
    assert port_80(beside) == f"{HOST}:80"
    assert f"outbound|80||{HOST}" not in beside.clusters


def taken(routes: Sequence[Route]) -> list[Any]:
    """Return where the routes lead that Envoy ever takes: none after the first that takes every call."""
    everything = next((index for index, one in enumerate(routes) if one.match == '{"prefix":"/"}'), len(routes))
    return [(one.match, one.clusters, one.direct) for one in routes[: everything + 1]]


WILD = entry(labels=bound(GATEWAYS), hosts=["*.example.com"], resolution="DYNAMIC_DNS", exportTo=["."])
EXACT = {**entry(resolution="DNS"), "metadata": {"name": "exact", "namespace": HOME, "labels": bound(GATEWAYS)}}


def test_the_virtual_service_of_one_host_would_take_all_calls_of_a_wildcard(ambient: Generator) -> None:
    """Why the waypoint does not see it: Istio takes it for each host that overlaps with its own."""
    done = guarded(WILD, EXACT, *elsewhere())
    assert [one["spec"]["exportTo"] for one in done.emitted] == [["."], ["."]]
    seen = [{**one, "spec": {**one["spec"], "exportTo": ["*"]}} for one in done.emitted if HOST in one["spec"]["hosts"]]
    (found,) = ask(ambient, [*done.before, *seen], proxy(GATEWAYS))
    assert [one.clusters[0].cluster for one in routes_of(found, "*.example.com")] == [f"inbound-vip|80|http|{HOST}"]


def sharing(resolution: str, theirs: str, created: str) -> list[Manifest]:
    """Two namespaces with the host at one waypoint; the entry of the second is created at this time."""
    one, other = (
        entry(namespace=namespace, labels=bound(GATEWAYS), **{**PRIVATE, "resolution": given})
        for namespace, given in ((HOME, resolution), ("reports", theirs))
    )
    made = ((one, "2025-06-01T00:00:00Z"), (other, created))
    return [*(dated(*each) for each in made), *waypoint(GATEWAYS), *map(space, (GATEWAYS, HOME, "reports"))]


AGES = ("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
ASKED = 60
"""How often istiod is asked at most until it has chosen each of two; one choice is as likely as the other."""


@pytest.mark.parametrize("created", AGES)
@pytest.mark.parametrize("theirs", ["NONE", "DNS"])
def test_of_two_entries_of_one_host_istiod_chooses_one_each_time_it_is_asked(
    ambient: Generator, theirs: str, created: str
) -> None:
    """Why both keep what their authors wrote: DNS beside NONE is as broken as DNS beside DNS, whatever their ages."""
    seen = set[tuple[str, str]]()
    for _ in range(ASKED):
        (found,) = ask(ambient, sharing("DNS", theirs, created), proxy(GATEWAYS))
        cluster = found.clusters[f"inbound-vip|80|http|{HOST}"]
        seen.add((cluster.namespace, cluster.type))
        if len(seen) == 2:
            break
    assert seen == {(HOME, "STRICT_DNS"), ("reports", "ORIGINAL_DST" if theirs == "NONE" else "STRICT_DNS")}


@pytest.mark.parametrize("created", AGES)
def test_two_entries_of_one_host_at_one_waypoint_stay_as_they_are(created: str) -> None:
    done = guarded(*sharing("NONE", "NONE", created))
    assert done.emitted == []
    assert done.after == done.before


CLUSTERS: dict[str, list[Manifest]] = {
    "a waypoint in its own namespace": [entry(labels=bound(), **PRIVATE), *waypoint(HOME), space(HOME)],
    "a waypoint in a namespace without sidecars": [entry(labels=bound(GATEWAYS), **PRIVATE), *waypoint(GATEWAYS)],
    "a waypoint beside sidecars": [entry(labels=bound(GATEWAYS), **PRIVATE), *elsewhere(**INJECTED)],
    "a waypoint beside sidecars that know the host": [
        entry(labels=bound(GATEWAYS), **PRIVATE),
        *elsewhere(**INJECTED),
        {**entry(namespace=GATEWAYS, **PRIVATE), "metadata": {"name": "own", "namespace": GATEWAYS}},
    ],
    "two ports and a wildcard": [
        entry(HTTP, SECOND, labels=bound(GATEWAYS), hosts=["*.example.com"], resolution="DYNAMIC_DNS", exportTo=["."]),
        *elsewhere(**INJECTED),
    ],
    "a wildcard and a host that it covers": [WILD, EXACT, *elsewhere(**INJECTED)],
    "a wildcard, and a host that it covers beside the waypoint": [
        WILD,
        {**EXACT, "metadata": {"name": "exact", "namespace": GATEWAYS}},
        *elsewhere(),
    ],
    "an HTTPRoute": [entry(labels=bound(GATEWAYS), **PRIVATE), *elsewhere(), http_route()],
}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_no_sidecar_of_an_ambient_mesh_gets_worse(ambient: Generator, cluster: str) -> None:
    assert harms_in_every_world(ambient, CLUSTERS[cluster], default_policy()) == []


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_no_waypoint_leads_a_call_elsewhere(ambient: Generator, cluster: str) -> None:
    done = guarded(*CLUSTERS[cluster])
    (at,) = {one["metadata"]["namespace"] for one in done.before if one["kind"] == "Gateway"}
    before, now = (ask(ambient, objects, proxy(at))[0] for objects in (done.before, done.after))
    assert before.routes.keys() <= now.routes.keys()
    for name, (found,) in before.routes.items():
        assert taken(found.routes) == taken(now.routes[name][0].routes)
