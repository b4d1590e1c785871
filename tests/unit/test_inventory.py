"""The inventory answers from its index what a look at everything would answer."""

import pickle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.controller.inventory import Inventory
from app.core.policy.model import default_policy
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.index import Index, Neighbours, place
from app.core.routes.observed import Observed
from app.core.routes.plan import Changes, Plan, changes, desired_at, keys
from tests.builders import entry, indexed, virtual_service
from tests.depth import examples
from tests.strategies import hosts, labels, manifests
from tests.unit.everything import Everything, same

POLICY = default_policy()


@st.composite
def objects(draw: st.DrawFn) -> Observed:
    """An object, ours or not, that may route what entries name."""
    kind = draw(st.sampled_from(["VirtualService", "DestinationRule", "HTTPRoute"]))
    host = draw(hosts)
    parent = {"group": "networking.istio.io", "kind": "ServiceEntry", "name": draw(labels)}
    specs: dict[str, Any] = {
        "VirtualService": {
            "hosts": [host],
            "http": [{"route": [{"destination": {"host": host}}]}],
            "exportTo": draw(st.sampled_from([[], ["."], ["*"], ["other"]])),
        },
        "DestinationRule": {"host": host},
        "HTTPRoute": {"parentRefs": [parent]},
    }
    names = ["theirs", "api.example.com", "wildcard.example.com", "b.example.com", "b.example.com.2"]
    managed = {"app.kubernetes.io/managed-by": "serviceentry-guard"}
    manifest: dict[str, Any] = {
        "kind": kind,
        "metadata": {
            "name": draw(st.sampled_from(names)),
            "namespace": draw(st.sampled_from(["team", "other"])),
            "labels": draw(st.sampled_from([{}, {}, managed])) if kind != "HTTPRoute" else {},
        },
        "spec": specs[kind],
    }
    return Observed.parse(manifest)


@given(st.lists(st.one_of(manifests().map(ServiceEntry.parse), objects(), st.integers(0, 5)), max_size=15))
@settings(max_examples=examples(300))
def test_each_name_is_decided_as_by_a_look_at_everything_and_no_change_of_a_decision_is_missed(
    steps: list[ServiceEntry | Observed | int],
) -> None:
    inventory, everything = Inventory(), Everything()
    for step in steps:
        before = {key: everything.decide(key) for key in everything.all_keys()}
        if isinstance(step, ServiceEntry):
            told = inventory.put_entry(everything.entries.get(step.key), step)
            everything.entries[step.key] = step
        elif isinstance(step, Observed):
            at = (step.kind, step.key)
            told = inventory.put_object(everything.objects.get(at), step)
            everything.objects[at] = step
        else:
            told = _remove(inventory, everything, step)
        for key in everything.all_keys() | before.keys():
            decision = everything.decide(key)
            assert same(decision, before.get(key, (Plan(), Changes()))) or key in told
            neighbours = inventory.neighbours(key)
            plan = desired_at(key, neighbours)
            assert same((plan, changes(plan, neighbours.observed)), decision)
    ours = [one for one in everything.objects.values() if one.managed]
    assert inventory.count_managed("VirtualService") == sum(one.kind == "VirtualService" for one in ours)
    asked = {key for entry in everything.entries.values() for key in keys(entry)}
    assert inventory.names() == asked | {place(one.key) for one in ours}


def _remove(inventory: Inventory, everything: Everything, number: int) -> frozenset[Key]:
    """Remove one of all things, by its number."""
    places = list(everything.entries), list(everything.objects)
    if number % 2 and places[0]:
        return inventory.put_entry(everything.entries.pop(places[0][number % len(places[0])]), None)
    if places[1]:
        return inventory.put_object(everything.objects.pop(places[1][number % len(places[1])]), None)
    return frozenset()


def test_of_two_objects_that_route_a_host_the_one_that_is_left_still_does() -> None:
    one, two = (Observed.parse(virtual_service(name)) for name in ("a", "b"))
    index = indexed([entry()], [one, two])
    at = Key("team", "api.example.com")
    assert set(index.neighbours(at).observed) == {one, two}
    assert at in index.put_object(one, None)
    assert index.neighbours(at).observed == (two,)


def test_retry_annotations_of_an_entry_requeue_its_host_in_its_own_namespace_only() -> None:
    inventory, mine = Inventory(), Key("team", "api.example.com")
    old = entry()
    others = [entry(namespace=namespace) for namespace in ("a", "b")]
    for each in (old, *others):
        inventory.put_entry(None, each)
    tuned, hidden = entry(annotations={"attempts": "1"}), entry(exportTo=["."])
    assert inventory.put_entry(old, tuned) == {mine}
    assert inventory.put_entry(tuned, hidden) == {mine}, "the oldest public entry is another one, before and after"
    everywhere = {Key(namespace, mine.name) for namespace in ("a", "b", "team")}
    assert inventory.put_entry(others[0], entry(namespace="a", exportTo=["."])) == everywhere


def test_siblings_are_all_of_a_namespace_that_are_joined_by_hosts_each_once() -> None:
    one = entry("one", hosts=["a.a", "b.a"])
    two, three = entry("two", hosts=["A.a.", "b.a", "c.a"]), entry("three", hosts=["c.a", "d.a"])
    apart, elsewhere = entry("apart", hosts=["e.a"]), entry("elsewhere", "other", hosts=["a.a"])
    inventory = Inventory()
    for each in (one, two, three, apart, elsewhere):
        inventory.put_entry(None, each)
    joined = {each.key: each for each in (one, two, three)}
    for each in joined.values():
        assert inventory.siblings(each) == joined
    assert inventory.siblings(apart) == {apart.key: apart}
    inventory.put_entry(two, None)
    assert inventory.siblings(one) == {one.key: one}
    assert inventory.siblings(two) == {each.key: each for each in (one, three)}


def test_the_index_keeps_no_trace_of_deleted_objects() -> None:
    index = Index()
    wild = entry(hosts=["*.example.com"], ports=[])
    spec = {"hosts": ["*.example.com"], "http": [{"route": []}]}
    other = Observed.parse({"kind": "VirtualService", "metadata": {"name": "x"}, "spec": spec})
    empty = pickle.dumps(index)
    index.put_entry(None, wild)
    index.put_object(None, other)
    assert pickle.dumps(index) != empty
    index.put_entry(wild, None)
    index.put_object(other, None)
    assert pickle.dumps(index) == empty
    assert index.neighbours(Key("default", "wildcard.example.com")) == Neighbours("")
