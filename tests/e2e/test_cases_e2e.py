"""Every case file, through a real API server: what the webhook makes of it, and what the controller reports."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.core.policy.model import API_VERSION, KIND, Settings
from app.core.policy.reader import as_document, parse_policy
from app.kube.client import Client
from app.kube.errors import ApiError, Forbidden
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, guard
from tests.bed.processes import wait_until
from tests.cases import CASES, Case
from tests.documents import as_text
from tests.e2e.definitions import knows, require_words, words_of
from tests.e2e.team import DESTINATION_RULES, GUARDED, SECONDS, VIRTUAL_SERVICES, Team

pytestmark = pytest.mark.e2e

IN_COMPANY = {"SEG041", "SEG042"}
"""Codes that only the index finds: admission does not know them, nor does the metric of findings count them."""
ALONE = [case.apart() for case in CASES if not case.beside and "team" not in json.dumps(case.policy)]
"""Those that one object decides, whatever its namespace is called."""
STORABLE = [case for case in ALONE if case.storable]
LEFT = [case for case in STORABLE if not case.remediated]
JUDGED = [case for case in ALONE if case.storable or case.outcome == "refused"]
"""Those of which the webhook has the last word: what Istio's schema refuses is refused after it was asked."""
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "resources": [{"group": "networking.istio.io", "resources": ["serviceentries"]}]},
        {"level": "None"},
    ],
}


def asked(case: Case) -> str:
    """The namespace where the webhook is asked about the case."""
    return f"asked-{case.name}"


def missed(case: Case) -> str:
    """The namespace where the case is stored behind the webhook's back."""
    return f"missed-{case.name}"


def override(case: Case) -> dict[str, Any]:
    """The case's policy as it applies to its namespaces: with one policy for all, one process serves all."""
    settings = parse_policy(case.guard_policy()).settings(asked(case))
    return {"match": [asked(case), missed(case)], **as_document(settings, Settings)}


def emitted(client: Client, namespace: str) -> dict[str, Any]:
    """The specs of all objects of a kind that we emit, by kind and name."""
    kinds = (VIRTUAL_SERVICES, DESTINATION_RULES)
    return {
        f"{kind.kind}/{item['metadata']['name']}": item["spec"]
        for kind in kinds
        for item in client.list_page(kind, namespace).items
    }


@pytest.fixture(scope="module")
def audit_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the API server of these tests writes its audit log."""
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="module")
def cluster(audit_log: Path) -> Iterator[ControlPlane]:
    """A control plane of its own: a controller of another policy would be at odds with the one of this run."""
    policy = audit_log.with_name("policy.yaml")
    policy.write_text(as_text(AUDIT_POLICY))
    arguments = [f"--audit-policy-file={policy}", f"--audit-log-path={audit_log}", "--audit-log-mode=blocking"]
    with ControlPlane(provide(), arguments) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: ControlPlane, admin: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """The controller, and beside it the webhook, with the policies of all cases."""
    document = {"apiVersion": API_VERSION, "kind": KIND, "namespaces": [override(case) for case in ALONE]}
    policy = tmp_path_factory.mktemp("policy") / "policy.yaml"
    policy.write_text(as_text(document))
    with guard(cluster, policy=policy, selector=GUARDED) as (_, controller):
        Team.create(cluster, admin, "probe", GUARDED).wait_until_guarded()
        yield controller


@pytest.fixture(scope="module")
def bystander(cluster: ControlPlane, admin: Client) -> Team:
    """Whom no case concerns."""
    return Team.create(cluster, admin, "bystander")


@pytest.fixture(scope="module")
def answers(bystander: Team, controller: object) -> dict[str, ApiError | None]:  # noqa: ARG001 - has to run
    """What the API server said to each case: an error, or None for one that it stored."""
    answers: dict[str, ApiError | None] = {}
    for case in JUDGED:
        team = Team.create(bystander.control_plane, bystander.client, asked(case), GUARDED)
        try:
            team.store(case.manifest(team.namespace))
            answers[case.name] = None
        except ApiError as error:
            answers[case.name] = error
    bystander.settle()
    return answers


@pytest.fixture(scope="module")
def reports(bystander: Team, controller: Controller) -> dict[str, set[str]]:
    """The codes that the controller's metrics show for each namespace where the webhook missed a case."""
    for case in LEFT:
        if not knows(bystander.control_plane, words_of(case)):
            continue
        team = Team.create(bystander.control_plane, bystander.client, missed(case))
        team.store(case.manifest(team.namespace))
    bystander.settle()
    reports = defaultdict[str, set[str]](set)
    for sample in controller.samples("serviceentry_guard_findings"):
        if sample.value:
            reports[sample.labels["namespace"]].add(sample.labels["code"])
    return reports


@pytest.mark.parametrize("case", JUDGED, ids=lambda case: case.name)
def test_the_api_server_stores_or_refuses_an_entry_as_its_case_says(
    case: Case, admin: Client, cluster: ControlPlane, answers: dict[str, ApiError | None]
) -> None:
    require_words(cluster, words_of(case))
    answer = answers[case.name]
    if case.outcome == "refused":
        assert isinstance(answer, Forbidden)
        errors = [finding.removeprefix("error ") for finding in case.findings if finding.startswith("error ")]
        assert all(f"{error}: " in answer.message for error in errors)
    else:
        assert answer is None
        stored = Team(cluster, admin, asked(case)).stored("case")["spec"]
        expected = case.resolution or case.spec.get("resolution")
        assert stored == case.spec | ({"resolution": expected} if expected else {})


@pytest.mark.parametrize("case", JUDGED, ids=lambda case: case.name)
def test_the_audit_log_has_the_codes_that_the_case_says(
    case: Case,
    answers: dict[str, ApiError | None],  # noqa: ARG001 - has to be there
    audit_log: Path,
) -> None:
    events = [json.loads(line) for line in audit_log.read_text().splitlines() if f'"{asked(case)}"' in line]
    (creation,) = [event for event in events if event["verb"] == "create"]
    found = creation.get("annotations", {}).get("mutate.serviceentry-guard.io/findings", "")
    assert set(filter(None, found.split(","))) == case.codes - IN_COMPANY


@pytest.mark.parametrize("case", JUDGED, ids=lambda case: case.name)
def test_the_controller_emits_what_the_case_says(
    case: Case,
    admin: Client,
    cluster: ControlPlane,
    answers: dict[str, ApiError | None],  # noqa: ARG001 - has to be there
) -> None:
    require_words(cluster, words_of(case))
    with suppress(TimeoutError):
        wait_until(lambda: emitted(admin, asked(case)).keys() == set(case.emits), "they are there", SECONDS)
    specs = emitted(admin, asked(case))
    assert sorted(specs) == sorted(case.emits)
    if case.http:
        assert [spec["http"] for name, spec in specs.items() if name.startswith("VirtualService/")] == [case.http]
    if case.destination:
        rules = [spec for name, spec in specs.items() if name.startswith("DestinationRule/")]
        # The policies of the other cases do not agree to what is emitted here.
        assert [{**spec, "exportTo": None} for spec in rules] == [{**case.destination, "exportTo": None}]


@pytest.mark.parametrize("case", LEFT, ids=lambda case: case.name)
def test_the_controller_reports_what_the_case_says_of_an_entry_that_the_webhook_missed(
    case: Case, cluster: ControlPlane, reports: dict[str, set[str]]
) -> None:
    require_words(cluster, words_of(case))
    assert reports.get(missed(case), set()) == case.codes - IN_COMPANY
