"""Corners of the core that generated input reaches only by chance."""

from app.controller.inventory import Inventory
from app.core.event_catalogue import limited, refused
from app.core.resources.service_entry import Key
from app.core.routes.budget import Budgets
from app.core.routes.host_index import HostIndex, meets
from app.core.routes.limits import Size, measure
from app.core.routes.observed import Observed
from app.core.routes.plan import desired
from app.core.rules.overrides import tune
from tests.builders import entry, guard_policy, indexed, virtual_service

PORTS = [{"number": number, "name": f"p{number}", "protocol": "HTTP"} for number in (80, 81, 82)]


def test_budget_of_no_entry_changes_nothing() -> None:
    assert Budgets().change("handle", None, None) == set()


def test_hosts_meet_if_they_are_equal_or_one_is_a_wildcard_over_the_other() -> None:
    assert meets("a.example.com", "a.example.com")
    assert meets("*.example.com", "a.example.com")
    assert meets("a.example.com", "*.example.com")
    assert not meets("a.example.com", "b.example.com")


def test_index_takes_neither_an_entry_that_came_nor_one_that_went() -> None:
    assert indexed([]).put_entry(None, None) == frozenset()


def test_of_three_entries_of_a_host_the_youngest_is_over_if_only_two_fit_into_the_object() -> None:
    entries = [
        entry(f"e{number}", created=f"2026-01-0{number}T00:00:00Z", ports=[port])
        for number, port in enumerate(PORTS, 1)
    ]
    limited = set()
    for limit in range(400, 2400, 20):
        inventory = Inventory(guard_policy(limits={"objectBytes": limit}))
        for one in entries:
            inventory.put_entry(None, one)
        limited.add(tuple(sorted(found.key.name for found, _ in inventory.limited())))
    assert ("e3",) in limited
    assert () in limited


def test_a_new_policy_reviews_all_entries_again() -> None:
    inventory, one = Inventory(guard_policy(limits={"entryHosts": 1})), entry(hosts=["a.example.com", "b.example.com"])
    inventory.put_entry(None, one)
    assert [found.key for found, _ in inventory.limited()] == [Key("team", "api")]
    inventory.take_policy(guard_policy())
    assert list(inventory.limited()) == []


def test_a_host_that_no_entry_names_can_be_dropped() -> None:
    HostIndex().drop("a.example.com", "team", "handle")


def test_an_entry_without_a_host_that_objects_can_be_named_after_has_no_size() -> None:
    hostless = entry(hosts=["*"])
    settings = guard_policy().settings("team")
    tuning = tune({}, settings.virtual_service)[0]
    assert measure(hostless, 1, tuning, settings) == (Size(), None)


def test_only_objects_of_the_guard_are_routes_of_the_guard() -> None:
    index = indexed([])
    index.put_object(None, Observed.parse(virtual_service()))
    assert list(index.routed()) == []


def test_an_http_route_on_an_entry_has_its_hosts_decided_again_with_the_entry() -> None:
    parent = {"group": "networking.istio.io", "kind": "ServiceEntry", "name": "api"}
    on_entry = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "route", "namespace": "team"},
        "spec": {"parentRefs": [parent], "rules": [{"backendRefs": [{"name": "egress", "port": 80}]}]},
    }
    index = indexed([])
    index.put_object(None, Observed.parse(on_entry))
    assert index.put_entry(None, entry(hosts=["a.example.com"])) == {Key("team", "a.example.com")}


def test_exemptions_that_end_leave_out_namespaces_that_an_entry_names() -> None:
    until = {"hosts": ["*"], "namespaces": ["shop"], "until": "2099-01-01", "reason": "OPS-1: moves"}
    policy = guard_policy(exemptions={"temporary": [until]})
    (plan,) = [desired([entry(exportTo=[".", "shop", "other"])], policy)]
    assert plan.objects[0].manifest["spec"]["exportTo"] == [".", "other"]


def test_one_entry_of_many_with_another_protocol_is_enough_to_confine() -> None:
    grpc = {"number": 80, "name": "grpc", "protocol": "GRPC"}
    entries = [entry(), entry(namespace="same"), entry(namespace="youngest", ports=[grpc])]
    assert [one.manifest["spec"]["exportTo"] for one in desired(entries, guard_policy()).objects] == [["."]] * 3


def test_an_object_that_two_entries_crowd_is_free_again_when_both_have_gone() -> None:
    entries = [entry(f"e{number}", ports=[port]) for number, port in enumerate(PORTS, 1)]
    inventory = Inventory(guard_policy(limits={"objectBytes": 800}))
    for one in entries:
        inventory.put_entry(None, one)
    crowded = [found.key.name for found, _ in inventory.limited()]
    for one in entries:
        inventory.put_entry(one, None)
    assert crowded
    assert list(inventory.limited()) == []


def test_an_entry_that_exceeds_a_limit_gets_one_event_that_names_the_limit() -> None:
    index = indexed([entry(hosts=["a.example.com", "b.example.com"])], policy=guard_policy(limits={"entryHosts": 1}))
    ((_, exceeded),) = index.entries.newly_limited()
    assert index.entries.newly_limited() == ()
    notice = limited(exceeded)
    assert notice.reason.name == "LimitExceeded"
    assert "limits.entryHosts" in notice.note


def test_refused_writes_get_an_event_with_the_namespace_and_the_reason() -> None:
    notice = refused("team", "exceeded quota")
    assert notice.reason.name == "WriteRefused"
    assert "objects of namespace team cannot be written: exceeded quota" in notice.note
