"""What `kubectl describe serviceentry` tells its author, from the controller's Events on a real API server."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bed.guard import Controller
from tests.bed.processes import wait_until
from tests.e2e.team import EVENTS, HTTP, HTTPS, Team

pytestmark = pytest.mark.e2e

NETWORK: dict[str, Any] = {"resolution": "NONE", "addresses": ["198.51.100.0/24"]}
EXEMPT = {"annotations": {"serviceentry-guard.io/exempt": "the vendor pins its addresses"}}


def told(team: Team, name: str = "api") -> Counter[str]:
    """How often each reason was told of an entry."""
    events = team.client.list_page(EVENTS, team.namespace).items
    return Counter(event["reason"] for event in events if event["regarding"]["name"] == name)


def expect(team: Team, *reasons: str, name: str = "api") -> None:
    """Wait until exactly these were told."""
    wait_until(lambda: told(team, name).total() >= len(reasons), f"{reasons} are told of {name}")
    assert told(team, name) == Counter(reasons)


def taken(controller: Controller) -> float:
    """How many Events were there already."""
    return controller.metric("rest_client_requests_total", verb="create", code="409")


def test_describe_shows_what_was_applied_and_where_retries_do_not_reach(team: Team) -> None:
    team.store(team.entry(ports=[HTTP, HTTPS]))
    expect(team, "VirtualServiceApplied", "RetriesNotApplicable")
    story = team.kubectl("describe", "serviceentry", "api").stdout.partition("\nEvents:")[2]
    rows = [line.split(maxsplit=4) for line in story.splitlines() if line.split()[:1] in (["Normal"], ["Warning"])]
    assert {(row[0], row[1], row[3]) for row in rows} == {
        ("Normal", "VirtualServiceApplied", "serviceentry-guard"),
        ("Normal", "RetriesNotApplicable", "serviceentry-guard"),
    }
    assert f"VirtualService {team.host()} was created" in story
    assert "SEG020 spec.ports[1].protocol: port 443 (HTTPS) gets no retries" in story
    assert not any(row[2].startswith("<") for row in rows), "each has an age"


def test_an_exempted_entry_gets_one_event(team: Team) -> None:
    team.store(team.entry())
    expect(team, "VirtualServiceApplied")
    team.edit("api", metadata=EXEMPT)
    expect(team, "VirtualServiceApplied", "Exempted")
    team.edit("api", exportTo=["."])
    team.settle()
    assert told(team) == Counter(["VirtualServiceApplied", "Exempted"])


def test_an_entry_that_admission_missed_and_that_cannot_become_dns_gets_a_warning_event(unguarded: Team) -> None:
    unguarded.store(unguarded.entry(**NETWORK))
    expect(unguarded, "Unfixable")
    shown = unguarded.kubectl("events", "--for=serviceentry/api", "--output=json").stdout
    (event,) = json.loads(shown)["items"]
    assert event["type"] == "Warning"
    assert event["message"].startswith('SEG006 spec.addresses[0]: "198.51.100.0/24" is a CIDR')
    assert event["message"].endswith("write one ServiceEntry with its own host for each.")


def test_a_remediated_entry_gets_an_event_for_the_patch_and_one_for_its_virtual_service(
    loner: Team, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    document = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy", "existing": "Remediate"}
    policy.write_text(yaml.safe_dump(document))
    loner.store(loner.entry(resolution="NONE"))
    with Controller(loner.control_plane, tmp_path, [f"--policy={policy}", "--no-leader-elect"]):
        expect(loner, "Remediated", "VirtualServiceApplied")


def test_a_restarted_controller_repeats_no_event(loner: Team, tmp_path: Path) -> None:
    host = loner.host("taken")
    loner.store(loner.foreign("mine", host))
    loner.store(
        loner.entry("taken", hosts=[host]),
        loner.entry(ports=[HTTP, HTTPS]),
        loner.entry("network", hosts=[loner.host("network")], **NETWORK),
    )
    before = [("taken", "HostConflict"), ("api", "VirtualServiceApplied"), ("network", "Unfixable")]
    for start in ("first", "second"):
        with Controller(loner.control_plane, tmp_path, ["--no-leader-elect"]) as controller:
            for name, reason in before:
                expect(loner, reason, name=name)
            # What it tells at its start comes before this, and what stands after all else: it must be given time.
            loner.store(loner.entry(start, hosts=[loner.host(start)], **NETWORK))
            expect(loner, "Unfixable", name=start)
            if start == "second":
                wait_until(lambda controller=controller: taken(controller) >= 3, "all were told before")  # type: ignore[misc]
            assert controller.metric("serviceentry_guard_events_dropped_total") == 0
    for name, reason in before:
        assert told(loner, name) == Counter([reason])
