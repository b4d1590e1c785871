"""Entries that were stored before the guard was there, and what becomes of them under `existing: Remediate`."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import yaml

from app.core.policy.model import API_VERSION, KIND
from app.kube.client import Client
from app.kube.resources import Resource
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, Webhook
from tests.bed.processes import wait_until
from tests.depth import sized
from tests.e2e.team import EVENTS, SERVICE_ENTRIES, Team

pytestmark = pytest.mark.e2e

NUMBERS = count(1)
REMEDIATIONS = "serviceentry_guard_remediations_total"
RATE = 10
"""Entries a second that the controller patches unless it is told otherwise."""
POLICIES = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "", namespaced=False)
BINDINGS = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "", namespaced=False)

Start = Callable[..., Controller]


@pytest.fixture
def old(cluster: ControlPlane, admin: Client) -> Team:
    """A team that was there before the guard."""
    return Team.create(cluster, admin, f"old-{next(NUMBERS)}")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """Where the policy of the test is."""
    return tmp_path / "policy.yaml"


@pytest.fixture
def start(cluster: ControlPlane, tmp_path: Path, policy: Path) -> Iterator[Start]:
    """Starts a controller with the policy of the test, and stops it after the test."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Controller:
            given = [f"--policy={policy}", "--no-leader-elect", *arguments]
            return stack.enter_context(Controller(cluster, tmp_path, given))

        yield start


def write(policy: Path, *namespaces: str, existing: str = "Report") -> None:
    """Write a policy that remediates in these namespaces."""
    overrides = [{"match": list(namespaces), "existing": "Remediate"}] if namespaces else []
    exempting = {"annotation": "Allow"}
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "existing": existing,
        "exemptions": {"annotation": "Allow"},
        "namespaces": overrides,
    }
    policy.write_text(yaml.safe_dump({**document, "exemptions": exempting}))


def names(number: int) -> list[str]:
    return [f"entry-{index}" for index in range(number)]


def store(team: Team, number: int) -> None:
    """Store entries of one host each, without resolution or with NONE, in turns."""

    def create(name: str) -> None:
        entry = team.entry(name, hosts=[team.host(name)], resolution="NONE")
        if name.endswith(("1", "3", "5", "7", "9")):
            del entry["spec"]["resolution"]
        team.store(entry)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, names(number)))


def resolutions(team: Team) -> Counter[str]:
    return Counter(entry["spec"].get("resolution", "NONE") for entry in listed(team, SERVICE_ENTRIES))


def listed(team: Team, resource: Resource) -> list[Any]:
    return list(team.client.list_page(resource, team.namespace, limit=2000).items)


def events(team: Team, reason: str) -> Counter[str]:
    """How many Events of this reason each ServiceEntry of the team has, by name."""
    return Counter(event["regarding"]["name"] for event in listed(team, EVENTS) if event["reason"] == reason)


@pytest.mark.sized
def test_many_old_entries_are_remediated_while_new_ones_are_admitted(
    old: Team, start: Start, policy: Path, tmp_path: Path
) -> None:
    many = sized(deep=500, usual=100)
    new, reported = (Team.create(old.control_plane, old.client, name) for name in ("new-team", "reported-team"))
    exempt = {"annotations": {"serviceentry-guard.io/exempt": "moves next month"}}
    store(old, many)
    old.store(
        old.entry("unfixable", hosts=[old.host("unfixable")], resolution="NONE", addresses=["10.0.0.0/8"]),
        old.entry("exempt", hosts=[old.host("exempt")], resolution="NONE", metadata=exempt),
    )
    reported.store(reported.entry(resolution="NONE"))
    write(policy, old.namespace)
    with Webhook(tmp_path, [f"--policy={policy}"]) as webhook, webhook.registered(old.control_plane):
        new.wait_until_guarded()
        began = monotonic()
        controller = start()
        for name in names(20):
            new.store(new.entry(name, hosts=[new.host(name)], resolution="NONE"))
            assert new.stored(name)["spec"]["resolution"] == "DNS"
            new.virtual_service(new.host(name))
        assert controller.metric(REMEDIATIONS, result="patched") < many
        wait_until(lambda: resolutions(old)["DNS"] == many, "all are remediated", 240.0)
        assert monotonic() - began >= 0.9 * many / RATE
    old.expect(*(old.host(name) for name in names(many)))
    wait_until(lambda: events(old, "Remediated").total() >= many, "all are told", 120.0)
    assert events(old, "Remediated") == Counter(names(many))
    assert resolutions(old) == {"DNS": many, "NONE": 2}
    assert resolutions(reported) == {"NONE": 1}
    left = {"SEG002": old, "SEG006": old, "SEG003": reported}
    for code, team in left.items():
        assert controller.metric("serviceentry_guard_findings", namespace=team.namespace, code=code) == 1
    assert controller.metric(REMEDIATIONS, result="patched") == many
    assert controller.metric(REMEDIATIONS, result="failed") == 0


def test_a_controller_that_was_killed_on_the_way_goes_on_where_it_was(old: Team, start: Start, policy: Path) -> None:
    many = 60
    store(old, many)
    write(policy, old.namespace)
    first = start("--remediation-rate=20")
    wait_until(lambda: resolutions(old)["DNS"] >= many / 3, "a third is remediated")
    first.child.kill()
    assert 0 < resolutions(old)["NONE"] < many
    start("--remediation-rate=20")
    wait_until(lambda: resolutions(old)["DNS"] == many, "all are remediated", 60.0)
    old.expect(*(old.host(name) for name in names(many)))
    generations = {entry["metadata"]["generation"] for entry in listed(old, SERVICE_ENTRIES)}
    assert generations == {2}, "each was written once"


def test_the_guard_owns_the_field_that_it_wrote_and_no_other(old: Team, start: Start, policy: Path) -> None:
    entry = old.entry(resolution="NONE")
    old.kubectl("create", manifest=entry)
    write(policy, old.namespace)
    start()
    wait_until(lambda: resolutions(old)["DNS"] == 1, "it is remediated")
    managers = {one["manager"]: one["fieldsV1"] for one in old.stored()["metadata"]["managedFields"]}
    assert managers["serviceentry-guard"] == {"f:spec": {"f:resolution": {}}}
    assert old.stored()["spec"] == {**entry["spec"], "resolution": "DNS"}


def test_server_side_apply_of_the_old_manifest_conflicts_with_the_guard_on_spec_resolution(
    old: Team, start: Start, policy: Path
) -> None:
    entry = old.entry(resolution="NONE")
    old.kubectl("apply", "--server-side", manifest=entry)
    write(policy, old.namespace)
    start()
    wait_until(lambda: resolutions(old)["DNS"] == 1, "it is remediated")
    told = old.kubectl("apply", "--server-side", manifest=entry, check=False)
    assert 'conflict with "serviceentry-guard"' in told.stderr
    assert ".spec.resolution" in told.stderr
    entry["spec"]["resolution"] = "DNS"
    old.kubectl("apply", "--server-side", manifest=entry)


def test_an_entry_that_another_policy_rejects_gets_an_event_and_is_remediated_after_its_removal(
    old: Team, start: Start, policy: Path
) -> None:
    store(old, 10)
    forbid_dns(old, "entry-4")
    write(policy, old.namespace)
    controller = start()
    wait_until(lambda: resolutions(old)["DNS"] == 9, "the others are remediated")
    wait_until(lambda: bool(events(old, "RemediationRefused")), "it is told")
    wait_until(lambda: controller.metric(REMEDIATIONS, result="failed") >= 2, "it is tried again")
    assert events(old, "RemediationRefused") == {"entry-4": 1}
    (told,) = [event["note"] for event in listed(old, EVENTS) if event["reason"] == "RemediationRefused"]
    assert told.startswith("resolution stays NONE: ")
    assert "DNS is not for us" in told
    old.client.delete(BINDINGS, None, old.namespace)
    wait_until(lambda: resolutions(old)["DNS"] == 10, "it is remediated", 60.0)
    wait_until(lambda: events(old, "Remediated").total() == 10, "all are told")


def test_a_policy_that_is_edited_to_remediate_does_so_from_then_on(old: Team, start: Start, policy: Path) -> None:
    store(old, 3)
    write(policy)
    controller = start()
    wait_until(lambda: findings(controller, old) == 3, "they are reported")
    assert resolutions(old) == {"NONE": 3}
    write(policy, old.namespace)
    wait_until(lambda: resolutions(old) == {"DNS": 3}, "they are remediated")
    wait_until(lambda: findings(controller, old) == 0, "nothing is left to report")


def findings(controller: Controller, team: Team) -> float:
    return controller.metric("serviceentry_guard_findings", namespace=team.namespace, code="SEG003")


def forbid_dns(team: Team, name: str) -> None:
    """Have the API server itself refuse resolution DNS for one entry, and wait until it does."""
    match = {"apiGroups": ["networking.istio.io"], "apiVersions": ["*"], "resources": ["serviceentries"]}
    rules = [{**match, "operations": ["CREATE", "UPDATE"]}]
    here = {"matchLabels": {"kubernetes.io/metadata.name": team.namespace}}
    allowed = f"object.metadata.name != '{name}' || object.spec.resolution != 'DNS'"
    rule = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": allowed, "message": "DNS is not for us"}],
    }
    binding = {
        "policyName": team.namespace,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": here},
    }
    for resource, kind, spec in (
        (POLICIES, "ValidatingAdmissionPolicy", rule),
        (BINDINGS, "ValidatingAdmissionPolicyBinding", binding),
    ):
        metadata = {"name": team.namespace}
        team.client.create(
            resource, {"apiVersion": resource.api_version, "kind": kind, "metadata": metadata, "spec": spec}
        )
    change = '--patch={"spec":{"resolution":"DNS"}}'
    dry_run = ("patch", "serviceentry", name, "--type=merge", "--dry-run=server", change)
    wait_until(lambda: "not for us" in team.kubectl(*dry_run, check=False).stderr, "the rule is in force")
