"""What there is to tell of entries, and who tells it when."""

import itertools
import threading
from typing import Any, cast

import pytest

from app.controller.entry_events import EntryEvents
from app.core.event_catalogue import CATALOGUE, conflict, notices
from app.core.resources.records import replace
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.observed import Observed
from app.core.routes.plan import changes, desired
from app.core.rules.verdict import review
from app.kube.events import EventRecorder
from tests.builders import HTTP, HTTPS, entry, guard_policy, virtual_service


class Events:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, bool]] = []
        self.notes: list[str] = []

    def record(
        self, regarding: dict[str, str], reason: str, note: str, type_: str, *, action: str, standing: bool
    ) -> None:
        assert (regarding["kind"], regarding["namespace"], regarding["name"]) == ("ServiceEntry", "team", "api")
        assert action
        self.told.append((reason, type_, standing))
        self.notes.append(note)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def leading() -> threading.Event:
    leading = threading.Event()
    leading.set()
    return leading


@pytest.fixture
def author(events: Events, leading: threading.Event) -> EntryEvents:
    return EntryEvents(cast("EventRecorder", events), leading.is_set)


UNFIXABLE: dict[str, Any] = {"resolution": "NONE", "addresses": ["198.51.100.0/24"]}
EXEMPT = {"exempt": "the vendor pins its addresses"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (entry(), []),
        (entry(ports=[HTTP, HTTPS]), ["RetriesNotApplicable"]),
        (entry(**UNFIXABLE), ["Unfixable"]),
        (entry(annotations=EXEMPT, **UNFIXABLE), ["Exempted"]),
        (entry(resolution="NONE"), []),
        (entry(hosts=["*.example.com"], resolution="NONE"), ["Unfixable"]),
    ],
    ids=["compliant", "https", "cidr", "exempt", "fixable", "wildcards"],
)
def test_the_verdict_on_an_entry_decides_its_event_reasons(given: ServiceEntry, told: list[str]) -> None:
    assert [notice.reason.name for notice in notices(review(given, guard_policy()))] == told


def test_a_note_says_where_why_and_what_to_write_instead() -> None:
    (notice,) = notices(review(entry(**UNFIXABLE), guard_policy()))
    assert notice.note == (
        'SEG006 spec.addresses[0]: "198.51.100.0/24" is a CIDR, which Istio rejects with resolution DNS. '
        "If clients call the host by its name, remove addresses and write resolution: DNS. "
        "If clients need this address, write resolution: STATIC with the address as endpoint; for several addresses, "
        "write one ServiceEntry with its own host for each."
    )


def test_wildcards_that_the_policy_allows_are_not_unfixable() -> None:
    wildcards = entry(hosts=["*.example.com"], resolution="NONE")
    assert not notices(review(wildcards, guard_policy(resolution={"wildcards": "Allow"})))
    assert not review(wildcards, guard_policy(resolution={"wildcards": "Allow"})).unfixable


def test_the_event_of_a_conflict_has_the_message_of_its_finding() -> None:
    (found,) = desired([entry()], guard_policy(), [Observed.parse(virtual_service())]).conflicts
    notice = conflict(found)
    assert (notice.reason.name, notice.note) == ("HostConflict", found.finding.message)


class TestANarrator:
    """Tells of changes, while its replica leads."""

    def test_tells_of_a_new_entry(self, author: EntryEvents, events: Events) -> None:
        author.entry_changed(None, entry(ports=[HTTP, HTTPS]), guard_policy())
        assert events.told == [("RetriesNotApplicable", "Normal", False)]

    def test_tells_nothing_of_a_change_that_leaves_all_as_it_was(self, author: EntryEvents, events: Events) -> None:
        author.entry_changed(entry(**UNFIXABLE), entry(exportTo=["."], **UNFIXABLE), guard_policy())
        assert events.told == []

    def test_tells_of_what_a_change_brings_and_only_that(self, author: EntryEvents, events: Events) -> None:
        old = entry(ports=[HTTP, HTTPS])
        author.entry_changed(old, entry(ports=[HTTP, {**HTTPS, "number": 8443}]), guard_policy())
        author.entry_changed(old, entry(ports=[HTTP, HTTPS], annotations=EXEMPT), guard_policy())
        assert [reason for reason, _, _ in events.told] == ["RetriesNotApplicable", "Exempted"]

    def test_writes_new_events_for_an_entry_that_was_created_again(self, author: EntryEvents, events: Events) -> None:
        author.entry_changed(entry(**UNFIXABLE), replace(entry(**UNFIXABLE), uid="2"), guard_policy())
        assert events.told == [("Unfixable", "Warning", False)]

    def test_tells_nothing_of_an_entry_that_went(self, author: EntryEvents, events: Events) -> None:
        author.entry_changed(entry(**UNFIXABLE), None, guard_policy())
        assert events.told == []

    def test_tells_of_what_another_policy_brings(self, author: EntryEvents, events: Events) -> None:
        exempting = guard_policy(exemptions={"namespaces": ["team"]})
        author.policy_changed([entry(), entry(ports=[HTTPS])], guard_policy(), exempting)
        author.policy_changed([entry()], exempting, exempting)
        assert [reason for reason, _, _ in events.told] == ["Exempted", "Exempted"]

    def test_tells_once_that_an_exemption_ends_and_once_that_it_ended(
        self, author: EntryEvents, events: Events
    ) -> None:
        exempt = entry(annotations={**EXEMPT, "exempt-until": "2027-03-31"})
        days = ["2027-03-16", "2027-03-17", "2027-03-18", "2027-03-31", "2027-04-01", "2027-04-02"]
        for before, after in itertools.pairwise(days):
            author.policy_changed([exempt], guard_policy().on(before), guard_policy().on(after))
        assert [(reason, type_) for reason, type_, _ in events.told] == [("ExemptionEnds", "Warning")] * 2
        assert "the exemption ends on 2027-03-31" in events.notes[0]
        assert "the exemption ended on 2027-03-31" in events.notes[1]

    def test_tells_only_warnings_of_what_it_finds(self, author: EntryEvents, events: Events) -> None:
        found = [entry(ports=[HTTP, HTTPS]), entry(annotations=EXEMPT), entry(**UNFIXABLE)]
        author.tell_standing(found, guard_policy())
        assert events.told == [("Unfixable", "Warning", True)]

    def test_tells_nothing_while_another_replica_leads(
        self, author: EntryEvents, events: Events, leading: threading.Event
    ) -> None:
        leading.clear()
        author.entry_changed(None, entry(**UNFIXABLE), guard_policy())
        author.policy_changed([entry(**UNFIXABLE)], guard_policy(mode="Off"), guard_policy())
        assert events.told == []

    def test_tells_whether_an_object_was_there_before(self, author: EntryEvents, events: Events) -> None:
        ruled = guard_policy(destinationRule={"enabled": True, "connectionPool": {"http": {"idleTimeout": "50s"}}})
        for emitted, _ in changes(desired([entry()], ruled), []).apply:
            author.applied(emitted, None)
        assert sorted(events.notes) == [
            "DestinationRule api.example.com was created",
            "VirtualService api.example.com was created",
        ]


def test_the_catalogue_has_each_event_once() -> None:
    names = [reason.name for reason in CATALOGUE]
    assert len(set(names)) == len(names)
    asked = {
        "ExemptionEnds",
        "VirtualServiceApplied",
        "HostConflict",
        "RetriesNotApplicable",
        "Unfixable",
        "Exempted",
        "Remediated",
    }
    assert asked <= set(names)


def test_a_contested_object_is_told_with_its_name_and_the_managers(events: Events) -> None:
    EntryEvents(cast("EventRecorder", events), lambda: True).contested(entry(), "api.example.com", "argocd, helm")
    assert [reason for reason, *_ in events.told] == ["ObjectContested"]
    assert "api.example.com are changed again and again by argocd, helm" in events.notes[0]
