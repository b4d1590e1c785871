"""Exemptions that end, on a real API server: it notes the day of each write, and nothing starts when a day ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.clock import utc_day
from app.controller.manager import Manager
from app.core.resources.days import end_of, later
from app.core.resources.service_entry import ServiceEntry
from app.kube.client import Client
from app.kube.errors import Forbidden
from app.policyfile import PolicyFile
from app.settings import ControllerSettings
from app.telemetry.metrics import ControllerMetrics
from tests.bed.guard import Controller, Webhook, exempting
from tests.bed.processes import wait_until
from tests.e2e.team import EVENTS, SECONDS, Team

pytestmark = pytest.mark.e2e

LAST = "2020-02-29"
EXEMPT = {
    "serviceentry-guard.io/exempt": "the vendor pins its addresses",
    "serviceentry-guard.io/exempt-until": LAST,
}
LONG_AGO = "2020-02-01T00:00:00Z"


def note_that_it_was_written_long_ago(team: Team) -> None:
    """Set the time of the write back, beside another change: a change of nothing but times is not stored."""
    patch = [
        {"op": "replace", "path": "/metadata/managedFields/0/time", "value": LONG_AGO},
        {"op": "add", "path": "/metadata/labels", "value": {"changed": "true"}},
    ]
    team.kubectl("patch", "serviceentry", "api", "--type=json", f"--patch={json.dumps(patch)}")


def written_if_it_were_as_old(team: Team) -> str:
    """The day of the last write, if the entry had been created long ago too: nothing sets that time back."""
    stored = team.stored()
    stored["metadata"]["creationTimestamp"] = LONG_AGO
    return ServiceEntry.parse(stored).written


def metric(controller: Controller, name: str, team: Team, **labels: str) -> float:
    return controller.metric(f"serviceentry_guard_{name}", namespace=team.namespace, **labels)


def test_the_day_of_the_last_write_is_that_of_the_spec_or_of_an_annotation_of_ours(unguarded: Team) -> None:
    unguarded.store(unguarded.entry(metadata={"annotations": EXEMPT}))
    assert written_if_it_were_as_old(unguarded) == utc_day()
    note_that_it_was_written_long_ago(unguarded)
    assert written_if_it_were_as_old(unguarded) == LONG_AGO[:10]
    assert ServiceEntry.parse(unguarded.stored()).written == utc_day(), "no entry was written before it was created"
    unguarded.kubectl("label", "serviceentry", "api", "team=mine")
    unguarded.kubectl("annotate", "serviceentry", "api", "example.com/note=mine")
    assert written_if_it_were_as_old(unguarded) == LONG_AGO[:10], "a write of what is not judged is none"
    unguarded.kubectl("annotate", "--overwrite", "serviceentry", "api", "serviceentry-guard.io/exempt-until=2020-03-31")
    assert written_if_it_were_as_old(unguarded) == utc_day()


def test_after_the_end_the_next_write_is_judged(product: tuple[Webhook, Controller], team: Team) -> None:
    _, controller = product
    cidr: dict[str, Any] = {"resolution": "NONE", "addresses": ["192.0.2.0/24"], "metadata": {"annotations": EXEMPT}}
    with pytest.raises(Forbidden, match="SEG006"):
        team.store(team.entry(**cidr))
    lasting = {**EXEMPT, "serviceentry-guard.io/exempt-until": "2999-12-31"}
    team.store(team.entry(**{**cidr, "metadata": {"annotations": lasting}}))
    shown = "exemption_expiry_timestamp_seconds"
    wait_until(lambda: metric(controller, shown, team) == end_of("2999-12-31"), "its end is shown", SECONDS)
    with pytest.raises(Forbidden, match="SEG006"):
        team.edit("api", metadata={"annotations": EXEMPT})
    team.kubectl("label", "serviceentry", "api", "team=mine")


def test_one_that_was_stored_while_it_lasted_stays_exempt_until_it_is_written(
    product: tuple[Webhook, Controller], unguarded: Team
) -> None:
    _, controller = product
    unguarded.store(
        unguarded.entry(metadata={"annotations": {**EXEMPT, "serviceentry-guard.io/exempt-until": utc_day()}})
    )

    def told() -> set[str]:
        return {event["reason"] for event in unguarded.client.list_page(EVENTS, unguarded.namespace).items}

    wait_until(lambda: told() >= {"Exempted", "ExemptionEnds"}, "that it ends is told", SECONDS)
    assert metric(controller, "findings", unguarded, code="SEG047") == 1
    assert unguarded.virtual_services() == {}
    unguarded.edit("api", metadata={"annotations": EXEMPT})
    unguarded.expect(unguarded.host())
    assert metric(controller, "findings", unguarded, code="SEG014") == 1


def test_as_days_pass_the_end_gets_a_finding_and_events_and_the_entry_stays_exempt(loner: Team, tmp_path: Path) -> None:
    begin = utc_day()
    today, last = [begin], later(begin, 20)
    annotations = {**EXEMPT, "serviceentry-guard.io/exempt-until": last}
    loner.store(loner.entry(metadata={"annotations": annotations}))
    metrics, client = ControllerMetrics(), Client.from_kubeconfig(str(loner.control_plane.kubeconfig))
    policy = PolicyFile(exempting(tmp_path), lambda _taken: None, lambda: today[0])
    controller = Manager(client, ControllerSettings(leader_elect=False), policy, metrics)
    controller.start()

    def count(code: str) -> float:
        labels = {"namespace": loner.namespace, "code": code}
        return metrics.registry.get_sample_value("serviceentry_guard_findings", labels) or 0.0

    def notes() -> list[str]:
        events = loner.client.list_page(EVENTS, loner.namespace).items
        return [event["note"] for event in events if event["reason"] == "ExemptionEnds"]

    try:
        wait_until(lambda: count("SEG002") == 1, "it is exempt", SECONDS)
        assert count("SEG047") == 0
        for number, (day, word) in enumerate([(later(begin, 6), "ends"), (later(begin, 21), "ended")], 1):
            today[0] = day
            wait_until(lambda: count("SEG047") == 1, "it is counted", SECONDS)
            wait_until(lambda number=number: len(notes()) == number, "it is told", SECONDS)  # type: ignore[misc]
            assert any(f"the exemption {word} on {last}" in note for note in notes())
        assert count("SEG002") == 1
        loner.settle()
        assert loner.virtual_services() == {}
    finally:
        controller.stop()
        client.close()
