"""Corners of the core that generated input reaches only by chance."""

from app.controller.inventory import Inventory
from app.core.budget import Budgets
from app.core.host_index import meets
from app.core.resources import Key
from tests.builders import entry, guard_policy, indexed

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


def test_another_policy_judges_all_entries_anew() -> None:
    inventory, one = Inventory(guard_policy(limits={"entryHosts": 1})), entry(hosts=["a.example.com", "b.example.com"])
    inventory.put_entry(None, one)
    assert [found.key for found, _ in inventory.limited()] == [Key("team", "api")]
    inventory.take_policy(guard_policy())
    assert list(inventory.limited()) == []
