"""The end-to-end tests of admission and of the case files, on configurations and rights that the chart made.

The controller is its ServiceAccount here, with the chart's roles and nothing else; the webhook is asked by its URL.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from app.controller.pod_sync import ANNOTATION
from app.core.cel.admission_policy import Engine
from app.kube.resources import PODS
from tests.bed.guard import Controller
from tests.bed.processes import wait_until
from tests.cases import CASES, Case
from tests.chart.helm import NAMESPACE, RELEASE, kind
from tests.chart.jobs import Jobs
from tests.chart.release import Release
from tests.e2e.backstops import require_engine, stored_policies
from tests.e2e.team import SECONDS, Team
from tests.e2e.test_admission import (  # noqa: F401 - run here as well
    TestAnEntryThatWasThereBeforeTheGuard,
    TestARefusal,
    TestValidationWithoutMutation,
    TestWarnings,
)
from tests.e2e.test_cases_e2e import (  # noqa: F401 - run here as well
    IN_COMPANY,
    JUDGED,
    answers,
    asked,
    bystander,
    emitted,
    missed,
    reports,
    test_the_api_server_stores_or_refuses_an_entry_as_its_case_says,
    test_the_controller_emits_what_the_case_says,
    test_the_controller_reports_what_the_case_says_of_an_entry_that_the_webhook_missed,
)

pytestmark = pytest.mark.e2e

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{RELEASE}-controller"
OLDER_REPORTS = ("wgpolicyk8s.io", "policyreports")
HTTP_ROUTES = ("gateway.networking.k8s.io", "httproutes")
Rights = dict[tuple[str, str], set[str]]
"""Verbs by API group and resource."""


@pytest.fixture(scope="module")
def recorded(request: pytest.FixtureRequest, audit_log: Path) -> list[dict[str, Any]]:
    """The events of the audit log once every case was asked; reading the file for each case takes seconds."""
    request.getfixturevalue("answers")
    return events(audit_log)


@pytest.mark.parametrize("case", JUDGED, ids=lambda case: case.name)
def test_the_audit_log_has_the_codes_of_every_case_that_is_not_compliant_already(
    case: Case, recorded: list[dict[str, Any]]
) -> None:
    (creation,) = (event for event in recorded if is_creation(event, asked(case)))
    found = creation.get("annotations", {}).get("mutate.serviceentry-guard.io/findings", "")
    codes = set(filter(None, found.split(",")))
    notes_only = all(finding.startswith("info ") for finding in case.findings)
    assert codes == case.codes - IN_COMPANY or (not codes and notes_only)


@pytest.mark.usefixtures("product")
def test_helm_test_runs_the_doctor_with_the_rights_that_it_needs_and_it_is_content(release: Release) -> None:
    with Jobs(release.cluster, NAMESPACE) as jobs:
        release.test()
    seen = jobs.results[f"{RELEASE}-doctor"]
    assert (seen.returncode, seen.stderr) == (0, "")
    assert {line.split()[0] for line in seen.stdout.splitlines()[:-1]} == {"ok"}
    assert "webhook mutate.serviceentry-guard.io rejects" in seen.stdout


@pytest.mark.usefixtures("answers", "reports")
def test_the_controller_uses_all_rights_that_the_chart_grants_and_needs_no_other(
    release: Release, controller: Controller, unguarded: Team, audit_log: Path
) -> None:
    require_engine(release.cluster, Engine.NATIVE)  # it has rights on objects that an older API server lacks
    unguarded.store(unguarded.foreign("theirs", unguarded.host()), unguarded.entry())
    unguarded.settle()
    have_one_repaired(unguarded)
    have_one_removed(unguarded)
    assert not list(stored_policies(unguarded.client))
    have_one_reported(unguarded)
    have_pods_told(unguarded)
    assert controller.child.running
    done = [event for event in events(audit_log) if event["user"]["username"] == ACCOUNT]
    assert not [event["requestURI"] for event in done if event["responseStatus"]["code"] == 403]
    rights = granted(release)
    # Only one kind of report is written; tests/e2e/test_reports.py has the other one, which is written alike.
    assert rights.pop(OLDER_REPORTS) == rights["openreports.io", "reports"]
    # The cluster of these tests has no Gateway API, so HTTPRoutes are looked for, and never watched.
    assert rights.pop(HTTP_ROUTES) == {"list", "watch"}
    # Written where failurePolicy is to be Fail, or the controller makes the certificate: tests/chart/test_lifecycle.py.
    rights["admissionregistration.k8s.io", "mutatingwebhookconfigurations"] -= {"patch"}
    assert {what: verbs for what, verbs in used(done).items() if what not in {OLDER_REPORTS, HTTP_ROUTES}} == rights


def have_pods_told(anyone: Team) -> None:
    """Have a pod of the webhook annotated with the version of what it mounts."""
    labels = {f"app.kubernetes.io/{name}": RELEASE for name in ("name", "instance")}
    metadata = {"name": "told", "namespace": NAMESPACE, "labels": {**labels, "app.kubernetes.io/component": "webhook"}}
    container = {"name": "webhook", "image": "serviceentry-guard"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    anyone.client.create(PODS, pod)

    def told() -> bool:
        return ANNOTATION in anyone.client.get(PODS, NAMESPACE, "told")["metadata"].get("annotations", {})

    wait_until(told, "the pod is annotated", SECONDS)
    anyone.client.delete(PODS, NAMESPACE, "told")


def have_one_repaired(anyone: Team) -> None:
    """Store an entry behind the webhook's back, in a namespace where the policy has it repaired."""
    case = next(case for case in CASES if case.storable and case.remediated and case.outcome == "changed")
    team = Team.create(anyone.control_plane, anyone.client, missed(case))
    team.store(case.manifest(team.namespace))
    wait_until(lambda: team.stored("case")["spec"]["resolution"] == case.resolution, "it is repaired", SECONDS)


def have_one_removed(anyone: Team) -> None:
    """Delete an entry that has a DestinationRule."""
    case = next(case for case in CASES if any(name.startswith("DestinationRule/") for name in case.emits))
    team = Team(anyone.control_plane, anyone.client, asked(case))
    team.delete("case")
    wait_until(lambda: not emitted(team.client, team.namespace), "its objects are gone", SECONDS)


def have_one_reported(anyone: Team) -> None:
    """Have a report written and, with the last entry of its namespace, deleted."""
    team = Team.create(anyone.control_plane, anyone.client, f"{anyone.namespace}-reported")
    team.store(team.entry())
    wait_until(lambda: bool(reported(team)), "there is a report", SECONDS)
    team.delete("api")
    wait_until(lambda: not reported(team), "the report is gone", SECONDS)


def reported(team: Team) -> str:
    """The report of a team, "" where there is none."""
    return team.kubectl("get", "reports.openreports.io", "--output=name").stdout


def events(log: Path) -> list[dict[str, Any]]:
    """All events of an audit log."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def is_creation(event: dict[str, Any], namespace: str) -> bool:
    """Whether an event is the creation of a case's entry."""
    target = event.get("objectRef", {})
    return event["verb"] == "create" and (target["resource"], target["namespace"]) == ("serviceentries", namespace)


def used(done: list[dict[str, Any]]) -> Rights:
    """What was asked of the API; an apply that creates needs the right to create besides the one to patch."""
    found = defaultdict[tuple[str, str], set[str]](set)
    for event in done:
        target = event["objectRef"]
        verbs = found[target.get("apiGroup", ""), target["resource"]]
        verbs.add(event["verb"])
        if event["verb"] == "patch" and event["responseStatus"]["code"] == 201:
            verbs.add("create")
    return dict(found)


def granted(release: Release, name: str = "controller") -> Rights:
    """What the roles of an account say."""
    found = defaultdict[tuple[str, str], set[str]](set)
    for role in ("ClusterRole", "Role"):
        for rule in kind(release.objects(), role, f"{RELEASE}-{name}")["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    found[group, resource] |= set(rule["verbs"])
    return dict(found)
