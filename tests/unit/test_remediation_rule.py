"""What the core wants patched of a stored entry that admission never saw."""

import json
from typing import Any

import pytest

from app.core.resources.service_entry import ServiceEntry
from app.core.rules.verdict import remediation, review
from tests.builders import policy
from tests.unit.test_remediation import REMEDIATE, manifest


def test_remediation_makes_the_patch_of_admission() -> None:
    entry = ServiceEntry.parse(manifest())
    assert remediation(entry, policy(**REMEDIATE)) == ({"op": "replace", "path": "/spec/resolution", "value": "DNS"},)


def test_the_patch_adds_a_resolution_that_is_not_there() -> None:
    written = manifest()
    del written["spec"]["resolution"]
    (operation,) = remediation(ServiceEntry.parse(written), policy(**REMEDIATE))
    assert operation["op"] == "add"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"existing": "Siblings"},
        {"existing": "Report"},
        {**REMEDIATE, "mode": "Warn"},
        {**REMEDIATE, "mode": "Off"},
        {**REMEDIATE, "exemptions": {"namespaces": ["team"]}},
        {**REMEDIATE, "exemptions": {"hosts": ["api.*"]}},
        {**REMEDIATE, "scope": {"excludedNamespaces": ["team"]}},
        {**REMEDIATE, "namespaces": [{"match": ["team"], "existing": "Report"}]},
        {**REMEDIATE, "namespaces": [{"match": ["team"], "mode": "Warn"}]},
    ],
    ids=json.dumps,
)
def test_nothing_is_patched_unless_the_policy_enforces_and_remediates_there(document: dict[str, Any]) -> None:
    assert remediation(ServiceEntry.parse(manifest()), policy(**document)) == ()


def test_where_only_siblings_are_patched_an_entry_follows_one_of_its_host_and_nothing_else_does() -> None:
    entry, asked = ServiceEntry.parse(manifest()), list[str]()

    def led(one: ServiceEntry, target: str) -> bool:
        asked.append(target)
        return one is entry

    other = ServiceEntry.parse(manifest("other"))
    for document in ({}, {"existing": "Siblings"}):
        assert remediation(entry, policy(**document), led=led) == review(entry, policy()).patch != ()
        assert remediation(other, policy(**document), led=led) == ()
    assert set(asked) == {"DNS"}


def test_where_the_policy_reports_no_sibling_is_brought_along() -> None:
    entry = ServiceEntry.parse(manifest())
    assert remediation(entry, policy(existing="Report"), led=lambda _entry, _target: True) == ()


def test_existing_remediate_patches_an_entry_without_a_sibling_of_that_resolution() -> None:
    entry = ServiceEntry.parse(manifest())
    assert remediation(entry, policy(**REMEDIATE), led=lambda _entry, _target: False)


def test_the_patch_follows_what_the_policy_says_of_the_namespace() -> None:
    document = {"existing": "Report", "namespaces": [{"match": ["te*"], **REMEDIATE}]}
    assert remediation(ServiceEntry.parse(manifest()), policy(**document))


@pytest.mark.parametrize(
    "written",
    [
        manifest(resolution="DNS"),
        manifest(addresses=["10.0.0.0/8"]),
        manifest(metadata={"annotations": {"serviceentry-guard.io/exempt": "the vendor pins its addresses"}}),
        manifest(metadata={"deletionTimestamp": "2025-01-01T00:00:00Z"}),
    ],
    ids=["compliant", "unfixable", "exempt", "terminating"],
)
def test_nothing_is_patched_of_an_entry_that_is_to_be_left(written: dict[str, Any]) -> None:
    document = {**REMEDIATE, "exemptions": {"annotation": "Allow"}}
    assert remediation(ServiceEntry.parse(written), policy(**document)) == ()
