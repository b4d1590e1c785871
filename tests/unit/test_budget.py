"""Limits: what a namespace asks for, counted by an index as a look at everything would count it."""

from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from app.controller.inventory import Inventory
from app.core.policy.reader import parse_policy
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.plan import Changes, Plan, changes, desired_at
from tests.depth import examples
from tests.unit.everything import Everything, same

NARROW = parse_policy(
    {
        "apiVersion": "serviceentry-guard.io/v1alpha1",
        "kind": "GuardPolicy",
        "limits": {"entryHosts": 3, "entryRoutes": 7, "objectBytes": 1000, "namespaceObjects": 3},
    }
)
"""Limits that a few entries exceed, each of them."""
HOSTS = [f"{letter}.example.com" for letter in "abcdef"]


@st.composite
def entries(draw: st.DrawFn) -> ServiceEntry:
    """An entry for which something is emitted, most of the time, with hosts and ports of which there are few."""
    numbers = draw(st.lists(st.sampled_from([80, 81, 82, 83]), min_size=1, max_size=3, unique=True))
    few = st.lists(st.sampled_from(HOSTS), min_size=1, max_size=2, unique=True)
    many = st.lists(st.sampled_from([*HOSTS, "*.example.com"]), min_size=1, max_size=4, unique=True)
    spec: dict[str, Any] = {
        "hosts": draw(st.one_of(few, few, few, many)),
        "ports": [{"number": number, "name": f"p{number}", "protocol": "HTTP"} for number in numbers],
        "resolution": draw(st.sampled_from(["DNS", "DNS", "DNS", "NONE"])),
        "exportTo": draw(st.sampled_from([[], [], ["."], [".", "other"]])),
    }
    metadata = {
        "name": draw(st.sampled_from("abcdefg")),
        "namespace": draw(st.sampled_from(["team", "team", "team", "team", "other", "third"])),
        "creationTimestamp": f"2026-01-0{draw(st.integers(1, 4))}T00:00:00Z",
        "annotations": draw(st.sampled_from([{}, {}, {"serviceentry-guard.io/attempts": "1"}])),
    }
    return ServiceEntry.parse({"metadata": metadata, "spec": spec})


@given(st.lists(st.one_of(entries(), entries(), entries(), st.integers(0, 9)), min_size=5, max_size=14))
@settings(max_examples=examples(300))
def test_limits_are_held_as_by_a_look_at_everything_and_no_change_of_a_decision_is_missed(
    steps: list[ServiceEntry | int],
) -> None:
    inventory, everything = Inventory(NARROW), Everything(NARROW)
    for step in steps:
        before = {key: everything.decide(key) for key in everything.all_keys()}
        if isinstance(step, ServiceEntry):
            told = inventory.put_entry(everything.entries.get(step.key), step)
            everything.entries[step.key] = step
        elif everything.entries:
            gone = everything.entries.pop(sorted(everything.entries, key=str)[step % len(everything.entries)])
            told = inventory.put_entry(gone, None)
        exceeded = {one.key: one.exceeded for one in everything.candidates() if one.exceeded is not None}
        for bound in {found.bound for found in exceeded.values()}:
            event(bound.value)
        assert {entry.key: found for entry, found in inventory.limited()} == exceeded
        assert sum(inventory.limited_counts().values()) == len(exceeded)
        for key in everything.all_keys() | before.keys():
            decision = everything.decide(key)
            assert same(decision, before.get(key, (Plan(), Changes()))) or key in told
            neighbours = inventory.neighbours(key)
            assert same((desired_at(key, neighbours), changes(desired_at(key, neighbours), ())), decision)


def numbered(name: str, hosts: list[str], *numbers: int, day: int) -> ServiceEntry:
    """An entry with HTTP ports of these numbers."""
    ports = [{"number": number, "name": f"p{number}", "protocol": "HTTP"} for number in numbers]
    metadata = {"name": name, "namespace": "team", "creationTimestamp": f"2026-01-0{day}T00:00:00Z"}
    return ServiceEntry.parse({"metadata": metadata, "spec": {"hosts": hosts, "ports": ports, "resolution": "DNS"}})


def test_an_entry_exceeds_the_limit_until_it_fits_into_each_of_its_objects() -> None:
    first, second = HOSTS[:2]
    older = [numbered("one", [first], 80, 81, day=1), numbered("two", [second], 80, 81, day=2)]
    younger = numbered("three", [first, second], 82, 83, day=3)
    inventory = Inventory(NARROW)
    for entry in (*older, younger):
        inventory.put_entry(None, entry)
    assert inventory.exceeded(younger.key)
    inventory.put_entry(older[0], None)
    assert inventory.exceeded(younger.key), "its object for the other host is still too large"
    inventory.put_entry(older[1], None)
    assert inventory.exceeded(younger.key) is None
