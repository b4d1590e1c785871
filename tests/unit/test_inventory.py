"""The inventory answers from its index what a look at everything would answer."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.controller.inventory import Inventory
from app.core.plan import Changes, Observed, changes, desired_at, keys
from app.core.policy import default_policy
from app.core.resources import Key, ServiceEntry
from tests.strategies import hosts, manifests

POLICY = default_policy()


@st.composite
def objects(draw: st.DrawFn) -> Observed:
    """A VirtualService or DestinationRule, ours or not, that may claim what entries list."""
    kind = draw(st.sampled_from(["VirtualService", "DestinationRule"]))
    host = draw(hosts)
    manifest: dict[str, Any] = {
        "kind": kind,
        "metadata": {
            "name": draw(st.sampled_from(["theirs", "api.example.com", "wildcard.example.com", "b.example.com"])),
            "namespace": draw(st.sampled_from(["team", "other"])),
            "labels": draw(st.sampled_from([{}, {}, {"app.kubernetes.io/managed-by": "serviceentry-guard"}])),
        },
        "spec": {"hosts": [host]} if kind == "VirtualService" else {"host": host},
    }
    return Observed.parse(manifest)


class Everything:
    """The model: all that is there, looked at as a whole each time."""

    def __init__(self) -> None:
        self.entries: dict[Key, ServiceEntry] = {}
        self.objects: dict[tuple[str, Key], Observed] = {}

    def all_keys(self) -> set[Key]:
        """Every key with something to decide."""
        asked = {key for entry in self.entries.values() for key in keys(entry)}
        return asked | {one.key for one in self.objects.values()}

    def decide(self, key: Key) -> Changes:
        """What is to be done for a key, by a look at all entries and all objects but ours of other names."""
        entries = [entry for entry in self.entries.values() if key in keys(entry)]
        observed = [one for one in self.objects.values() if not one.managed or one.key == key]
        return changes(desired_at(key, entries, POLICY).objects, observed)


@given(st.lists(st.one_of(manifests().map(ServiceEntry.parse), objects(), st.integers(0, 5)), max_size=15))
@settings(max_examples=150)
def test_each_key_is_decided_as_by_a_look_at_everything_and_no_change_of_a_decision_is_missed(
    steps: list[ServiceEntry | Observed | int],
) -> None:
    inventory, everything = Inventory(), Everything()
    for step in steps:
        before = {key: everything.decide(key) for key in everything.all_keys()}
        if isinstance(step, ServiceEntry):
            told = inventory.put_entry(everything.entries.get(step.key), step)
            everything.entries[step.key] = step
        elif isinstance(step, Observed):
            place = (step.kind, step.key)
            told = inventory.put_object(everything.objects.get(place), step)
            everything.objects[place] = step
        else:
            told = _remove(inventory, everything, step)
        for key in everything.all_keys() | before.keys():
            decision = everything.decide(key)
            assert decision == before.get(key, Changes()) or key in told
            entries, observed = inventory.gather(key)
            assert changes(desired_at(key, entries, POLICY).objects, observed) == decision
    ours = [one for one in everything.objects.values() if one.managed]
    assert inventory.count_managed("VirtualService") == sum(one.kind == "VirtualService" for one in ours)
    asked = {key for entry in everything.entries.values() for key in keys(entry)}
    assert inventory.keys() == asked | {one.key for one in ours}


def _remove(inventory: Inventory, everything: Everything, number: int) -> frozenset[Key]:
    """Remove one of all things, by its number."""
    places = list(everything.entries), list(everything.objects)
    if number % 2 and places[0]:
        return inventory.put_entry(everything.entries.pop(places[0][number % len(places[0])]), None)
    if places[1]:
        return inventory.put_object(everything.objects.pop(places[1][number % len(places[1])]), None)
    return frozenset()


def test_nothing_is_kept_of_what_is_gone() -> None:
    inventory = Inventory()
    entry = ServiceEntry.parse(
        {"metadata": {"name": "a"}, "spec": {"hosts": ["a.example.com"], "ports": [], "resolution": "DNS"}}
    )
    other = Observed.parse({"kind": "VirtualService", "metadata": {"name": "x"}, "spec": {"hosts": ["a.example.com"]}})
    inventory.put_entry(None, entry)
    inventory.put_object(None, other)
    inventory.put_entry(entry, None)
    inventory.put_object(other, None)
    assert not any(vars(inventory)[name]._values for name in ("_entries", "_asked", "_claims"))
    assert inventory.gather(Key("default", "a.example.com")) == ((), ())
