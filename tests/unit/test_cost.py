"""A change costs what it changes: twice the entries and twice the hosts are four times the work, never eight times."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from app.controller.gauges import FindingGauges
from app.controller.inventory import Inventory
from app.core.policy.model import default_policy
from app.core.policy.traffic import VirtualService
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.observed import Observed
from app.core.routes.plan import changes, desired_at
from app.core.rules.findings import Finding
from app.core.rules.overrides import Tuning, tune
from app.core.rules.verdict import review
from tests.builders import HTTP
from tests.unit.cost import calls

TWICE = 2.3
"""What twice as much may cost: twice, and a little for what grows with a logarithm."""


def entry(number: int, hosts: int, namespace: str = "team", attempts: str = "1", **spec: Any) -> ServiceEntry:
    """One of several entries with the same hosts."""
    named = [f"api-{host}.example.com" for host in range(hosts)]
    metadata = {
        "name": f"entry-{number}",
        "namespace": namespace,
        "uid": str(number),
        "creationTimestamp": f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}Z",
        "annotations": {"serviceentry-guard.io/attempts": attempts},
    }
    spec = {"hosts": named, "ports": [HTTP], "resolution": "DNS", **spec}
    return ServiceEntry.parse({"metadata": metadata, "spec": spec})


class Crowd:
    """A number of entries of one namespace that name the same hosts."""

    def __init__(self, entries: int, hosts: int, **spec: Any) -> None:
        self.hosts = hosts
        self.spec = spec
        self.inventory = Inventory()
        self.entries = [entry(number, hosts, **spec) for number in range(entries)]
        for one in self.entries:
            self.inventory.put_entry(None, one)

    def tune(self) -> None:
        """Change an annotation of one entry, and decide all names that this has a say in."""
        self._change(entry(3, self.hosts, attempts="2", **self.spec))

    def hide(self) -> None:
        """Change what other namespaces see of one entry."""
        self._change(entry(3, self.hosts, **{**self.spec, "exportTo": ["."]}))

    def come(self) -> None:
        """Add one more entry to the index."""
        self.inventory.put_entry(None, entry(len(self.entries), self.hosts, **self.spec))

    def _change(self, changed: ServiceEntry) -> None:
        for key in self.inventory.put_entry(self.entries[3], changed):
            neighbours = self.inventory.neighbours(key)
            changes(desired_at(key, neighbours, explained=False), neighbours.observed)


@pytest.mark.parametrize("change", [Crowd.tune, Crowd.hide, Crowd.come], ids=lambda change: change.__name__)
def test_a_change_of_one_entry_costs_no_more_than_its_hosts_times_the_entries_that_name_them(
    change: Callable[[Crowd], None],
) -> None:
    few, many = Crowd(8, 16), Crowd(16, 32)
    assert calls(lambda: change(many)) <= TWICE * 2 * calls(lambda: change(few))


def test_each_entry_is_tuned_once_for_a_change_and_not_once_for_each_host(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd, tuned = Crowd(16, 32), list[object]()

    def note(annotations: Mapping[str, str], settings: VirtualService) -> tuple[Tuning, tuple[Finding, ...]]:
        tuned.append(annotations)
        return tune(annotations, settings)

    monkeypatch.setattr("app.core.routes.candidates.tune", note)
    crowd.tune()
    assert len(tuned) == 1


def test_namespaces_that_an_entry_is_exported_to_are_not_looked_at_for_each_host() -> None:
    def cost(namespaces: int) -> int:
        crowd = Crowd(4, 32, exportTo=["team", *(f"ns-{number}" for number in range(namespaces))])
        return calls(crowd.tune)

    assert cost(400) <= 1.2 * cost(200)


def test_entries_of_its_own_namespace_that_name_the_same_hosts_do_not_make_a_change_known_later() -> None:
    """Until the change is known, nothing else is: what is decided by it afterwards takes turns."""

    def cost(entries: int) -> int:
        crowd = Crowd(entries, 16)
        changed = entry(3, 16, exportTo=["."])
        return calls(lambda: crowd.inventory.put_entry(crowd.entries[3], changed))

    assert cost(200) <= 1.2 * cost(50)


def test_entries_of_many_namespaces_that_name_a_host_are_not_looked_at_for_each_of_them() -> None:
    """All of them are decided anew where the oldest changes: each by what was found once for all."""

    def cost(namespaces: int) -> int:
        inventory = Inventory()
        entries = [entry(number, 1, namespace=f"ns-{number}") for number in range(namespaces)]
        for one in entries:
            inventory.put_entry(None, one)

        def change() -> None:
            for key in inventory.put_entry(entries[0], entry(0, 1, namespace="ns-0", exportTo=["."])):
                neighbours = inventory.neighbours(key)
                changes(desired_at(key, neighbours, explained=False), neighbours.observed)

        return calls(change)

    assert cost(100) <= TWICE * cost(50)


def test_a_claim_on_a_host_costs_no_more_than_the_entries_that_name_it() -> None:
    spec = {"hosts": ["api-1.example.com"], "http": [{"route": []}]}
    claim = Observed.parse({"kind": "VirtualService", "metadata": {"name": "x", "namespace": "other"}, "spec": spec})

    def cost(hosts: int) -> int:
        crowd = Crowd(16, hosts)
        return calls(lambda: crowd.inventory.put_object(None, claim))

    assert cost(64) <= TWICE * cost(32) / 2


def test_a_scrape_counts_namespaces_and_kinds_and_not_entries_and_objects() -> None:
    labels = {"app.kubernetes.io/managed-by": "serviceentry-guard"}

    def cost(entries: int) -> int:
        gauges, inventory = FindingGauges(lambda entry: review(entry, default_policy())), Inventory()
        for number in range(entries):
            one = entry(number, 1)
            gauges.put(one.key, one)
            metadata = {"name": f"vs-{number}", "namespace": "team", "labels": labels}
            inventory.put_object(None, Observed.parse({"kind": "VirtualService", "metadata": metadata}))
        return calls(lambda: (gauges.findings(), gauges.expiries(), inventory.count_managed("VirtualService")))

    assert cost(100) <= 2 * cost(10)
