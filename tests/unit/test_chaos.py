"""The measures of tests/chaos: each of them finds what it is there to find."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.core.resources.service_entry import Key
from tests.chaos.audit_log import AuditLog, Write, by_two, count_objects
from tests.chaos.calls import Call
from tests.chaos.ledger import Ledger, state
from tests.chaos.page import write
from tests.chaos.soak import unexpected
from tests.chaos.vitals import Vitals

KEY = Key("team", "api")
OLD, NEW = {"hosts": ["old.example.com"], "resolution": "NONE"}, {"hosts": ["new.example.com"], "resolution": "NONE"}
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def stored(spec: dict[str, Any]) -> dict[Key, dict[str, Any]]:
    """A cluster with one entry, as the guard has to store it."""
    return {KEY: {**spec, "resolution": "DNS"}}


@pytest.fixture
def ledger() -> Ledger:
    """A model of a cluster in which the old state was acknowledged."""
    ledger = Ledger()
    ledger.acknowledged(KEY, state(OLD))
    return ledger


def test_an_acknowledged_write_that_is_not_stored_is_lost(ledger: Ledger) -> None:
    assert ledger.lost(stored(OLD)) == []
    assert ledger.lost(stored(NEW)) == [KEY]
    assert ledger.lost({}) == [KEY]
    ledger.acknowledged(KEY, None)
    assert ledger.lost(stored(OLD)) == [KEY], "it was deleted"


def test_an_entry_that_is_stored_without_the_patch_is_lost(ledger: Ledger) -> None:
    assert ledger.lost({KEY: OLD}) == [KEY]


def test_a_write_without_an_answer_allows_both_states_until_the_next_acknowledged_one(ledger: Ledger) -> None:
    ledger.unknown(KEY, state(NEW))
    assert ledger.lost(stored(OLD)) == ledger.lost(stored(NEW)) == []
    ledger.acknowledged(KEY, state(NEW))
    assert ledger.lost(stored(OLD)) == [KEY]


def test_a_restored_model_is_that_of_the_snapshot(ledger: Ledger) -> None:
    snapshot = ledger.copy()
    ledger.acknowledged(KEY, state(NEW))
    assert snapshot.lost(stored(OLD)) == []


def event(second: int, user: str, version: str, holder: str | None = None, code: int = 200) -> dict[str, Any]:
    """An event of the audit log: a write of a VirtualService, or of the Lease if there is a holder."""
    moment = (BEGAN + timedelta(seconds=second)).isoformat()
    return {
        "stage": "ResponseComplete",
        "user": {"username": user},
        "objectRef": {"resource": "virtualservices" if holder is None else "leases"},
        "requestReceivedTimestamp": moment,
        "stageTimestamp": moment,
        "requestObject": {"spec": {"holderIdentity": holder}},
        "responseObject": {"metadata": {"uid": "1", "resourceVersion": version}},
        "responseStatus": {"code": code},
    }


def test_a_write_of_a_controller_that_has_lost_the_lease_is_found() -> None:
    events = [event(0, "one", "1", "one"), event(1, "one", "2"), event(2, "two", "3", "two"), event(3, "one", "4")]
    writes = [Write.of(each) for each in events]
    assert by_two(writes[:3]) == 0
    assert by_two(writes) == 1
    assert count_objects(writes) == 2


def test_the_audit_log_counts_writes_that_change_nothing_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    assert log.take() == []
    first, same, refused = event(0, "one", "7"), event(1, "one", "7"), event(2, "one", "8", code=409)
    path.write_text("".join(json.dumps(each) + "\n" for each in (first, same, refused)) + '{"half')
    writes = log.take()
    assert [write.version for write in writes] == ["7", "7"]
    assert log.for_nothing(writes) == 1
    assert log.take() == []


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/apis/networking.istio.io/v1/namespaces/team/virtualservices/api?force=true", "PATCH virtualservices"),
        ("/apis/networking.istio.io/v1/serviceentries?watch=true", "WATCH serviceentries"),
        ("/api/v1/namespaces?limit=500", "PATCH namespaces"),
        ("/apis/coordination.k8s.io/v1/namespaces/default/leases/guard", "PATCH leases"),
    ],
)
def test_the_kind_of_a_call_follows_from_its_path(target: str, kind: str) -> None:
    assert Call.of(1, "PATCH", target, {}).kind == kind


def test_a_figure_that_grows_is_told_from_one_that_varies() -> None:
    vitals = Vitals("controller")
    for second in range(100):
        vitals.put(second, {"memory": 70 + second, "threads": 20 + second % 2})
    assert vitals.growth("memory") == pytest.approx(74)
    assert not vitals.flat("memory")
    assert vitals.flat("threads")


def test_unexpected_lines_are_counted_without_their_numbers(tmp_path: Path) -> None:
    lines = [
        {"level": "info", "message": "reconciled"},
        {"level": "warning", "message": "stopped leading: lost Lease a/b"},
        {"level": "warning", "message": "port 80 failed"},
        {"level": "error", "message": "port 81 failed"},
    ]
    path = tmp_path / "controller-1.log"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "Traceback\n")
    assert unexpected([path]) == {"controller: port N failed": 2, "controller: Traceback": 1}


def test_a_run_replaces_what_is_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\n\nold\n\n<!-- b -->\n\nafter\n")
    for _ in range(2):
        write("new\n", "<!-- a -->\n", "<!-- b -->\n", page)
    assert page.read_text() == "before\n<!-- a -->\n\nnew\n\n<!-- b -->\n\nafter\n"
