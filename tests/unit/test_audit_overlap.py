"""Hosts that ServiceEntries of several namespaces offer to the whole mesh."""

from typing import Any

import pytest

from app.core.policy import default_policy
from app.core.reader import parse_policy
from app.core.survey import Sourced, survey

HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}


def entry(namespace: str, name: str = "api", **spec: Any) -> Sourced:
    manifest = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hosts": ["api.example.com"], "ports": [HTTP], "resolution": "DNS", **spec},
    }
    return Sourced(f"{namespace}.yaml", manifest)


def told(*entries: Sourced, **policy: Any) -> list[list[str]]:
    identity = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy"}
    rules = parse_policy({**identity, **policy}) if policy else default_policy()
    return [[finding.message for finding in one.shared if finding.code == "SEG026"] for one in survey(entries, rules)]


def test_a_host_that_two_namespaces_offer_to_everyone_is_told_to_both() -> None:
    found = told(entry("one", hosts=["API.example.com"]), entry("two", exportTo=["*"]))
    assert found == [
        ['ServiceEntry two/api offers "API.example.com" to the whole mesh as well'],
        ['ServiceEntry one/api offers "api.example.com" to the whole mesh as well'],
    ]


def test_only_the_first_of_many_others_is_named() -> None:
    found = told(entry("one"), entry("three"), entry("two"), entry("two", "again"))
    assert found[0] == ['ServiceEntry three/api offers "api.example.com" to the whole mesh as well (and 2 more)']


def test_entries_of_one_namespace_are_another_rules_business() -> None:
    assert told(entry("one"), entry("one", "again")) == [[], []]


@pytest.mark.parametrize("export_to", [["."], ["two"], ["~"]])
def test_an_entry_that_is_not_for_everyone_overlaps_with_none(export_to: list[str]) -> None:
    assert told(entry("one", exportTo=export_to), entry("two")) == [[], []]


def test_an_entry_that_shares_only_what_others_overlap_in_is_told_nothing() -> None:
    assert told(entry("one"), entry("two"), entry("three", exportTo=["."]))[2] == []


def test_an_entry_that_the_policy_does_not_look_at_is_told_nothing_but_counts_for_others() -> None:
    found = told(entry("one", location="MESH_INTERNAL"), entry("two"))
    assert found == [[], ['ServiceEntry one/api offers "api.example.com" to the whole mesh as well']]


def test_a_policy_that_stands_aside_tells_nothing() -> None:
    assert told(entry("one"), entry("two"), mode="Off") == [[], []]
