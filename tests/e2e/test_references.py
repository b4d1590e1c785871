"""Every metric and every Event, driven once on a real API server, and held against their pages in docs/."""

import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.clock import utc_day
from app.core.event_catalogue import CATALOGUE as REASONS
from app.core.resources.days import later
from app.core.rules.catalogue import CATALOGUE as FINDINGS
from app.kube.client import Client
from app.kube.errors import NotFound
from app.kube.resources import Resource
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, Webhook, fetch
from tests.bed.processes import wait_until
from tests.bed.refusals import LABEL, refusing
from tests.bed.require import require
from tests.e2e.team import EVENTS, GUARDED, HTTP, HTTPS, VIRTUAL_SERVICES, Team
from tools.reference.metrics import Documented, both

pytestmark = pytest.mark.e2e

ADMISSION = "admissionregistration.k8s.io"
MOMENTARY = {
    "workqueue_depth",
    "workqueue_unfinished_work_seconds",
    "workqueue_longest_running_processor_seconds",
    "serviceentry_guard_workqueue_oldest_item_age_seconds",
}
"""Gauges that are back at 0 before anybody could look."""
OPT_IN = {"serviceentry_guard_cut_hosts"}
"""Gauges of what the controller does only with a flag that is not given here."""
NETWORK: dict[str, Any] = {"resolution": "NONE", "addresses": ["198.51.100.0/24"]}
FROZEN = {"metadata": {"labels": {"frozen": "true"}}}


def policy(**document: Any) -> str:
    """A policy that has stored entries patched, emits DestinationRules, and lets teams exempt their entries."""
    rule = {"enabled": True, "connectionPool": {"http": {"idleTimeout": "50s"}}}
    head = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy", "existing": "Remediate"}
    return yaml.safe_dump({**head, "destinationRule": rule, "exemptions": {"annotation": "Allow"}, **document})


def freezing() -> Iterator[tuple[Resource, Any]]:
    """What denies every update of entries that are labelled `frozen`, and what a cluster's webhooks would look like."""
    rule = {"apiGroups": ["networking.istio.io"], "apiVersions": ["*"], "resources": ["serviceentries"]}
    expression = "!has(oldObject.metadata.labels) || !('frozen' in oldObject.metadata.labels)"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{**rule, "operations": ["UPDATE"]}]},
        "validations": [{"expression": expression, "message": "it is frozen"}],
    }
    bound = {"policyName": "frozen", "validationActions": ["Deny"]}
    unused = {
        "name": "unused.serviceentry-guard.io",
        "clientConfig": {"service": {"namespace": "default", "name": "serviceentry-guard-webhook"}},
        "rules": [{**rule, "apiGroups": ["unused.example.com"], "operations": ["CREATE"]}],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    for kind, plural, body in (
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies", {"spec": spec}),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", {"spec": bound}),
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", {"webhooks": [unused]}),
    ):
        name = "serviceentry-guard" if "Webhook" in kind else "frozen"
        resource = Resource(ADMISSION, "v1", plural, kind, namespaced=False)
        yield resource, {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": name}, **body}


@dataclass(frozen=True, slots=True)
class Tour:
    """Both processes beside an API server of their own, which is stopped and started meanwhile."""

    control_plane: ControlPlane
    client: Client
    webhook: Webhook
    controller: Controller
    policy: Path

    def counted(self, name: str, **labels: str) -> bool:
        """Whether the controller counted any."""
        return self.controller.metric(name, **labels) > 0

    def expect(self, name: str, **labels: str) -> None:
        """Wait until the controller counted some."""
        wait_until(lambda: self.counted(name, **labels), f"{name} {labels} is counted", 60.0)

    def both_say(self, line: str) -> None:
        """Wait until webhook and controller both have this line."""
        ports = (self.webhook.health_port, self.controller.health_port)
        wait_until(lambda: all(line in fetch(port, "/metrics") for port in ports), f"both say {line}")

    def reasons(self) -> set[str]:
        """What was told so far of any entry, by whoever says that it is the guard."""
        events = self.client.list_page(EVENTS).items
        return {event["reason"] for event in events if event["reportingController"] == "serviceentry-guard"}


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    """Drive all of it once."""
    folder = tmp_path_factory.mktemp("references")
    path = folder / "policy.yaml"
    path.write_text(policy())
    flags = [f"--policy={path}"]
    with ControlPlane(provide()) as control_plane, Webhook(folder, flags) as webhook:
        client = Client.from_kubeconfig(str(control_plane.kubeconfig))
        store_what_admission_missed(control_plane, client)
        more = ["--manage-certificates", "--backstop=validating"]
        with (
            webhook.registered(control_plane, GUARDED),
            Controller(control_plane, folder, [*flags, *more]) as controller,
        ):
            tour = Tour(control_plane, client, webhook, controller, path)
            team = Team.create(control_plane, client, "guarded", GUARDED)
            team.wait_until_guarded()
            write_entries(tour, team)
            change_the_policy_while_the_api_server_is_away(tour)
            yield tour
        client.close()


def is_told_after_a_deletion(tour: Tour, team: Team) -> bool:
    """Delete the VirtualService once more, and say whether the guard has told that another client does so."""
    with suppress(NotFound):
        tour.client.delete(VIRTUAL_SERVICES, team.namespace, team.host())
    return "ObjectContested" in tour.reasons()


def store_what_admission_missed(control_plane: ControlPlane, client: Client) -> None:
    """Entries that the controller finds: one to repair, one that cannot be, one that may not be."""
    for resource, body in freezing():
        client.create(resource, body)
    team = Team.create(control_plane, client, "missed")
    frozen = team.entry(
        "frozen", hosts=[team.host("frozen")], metadata={"labels": {"frozen": "true"}}, resolution="NONE"
    )
    team.store(frozen, team.entry(resolution="NONE"), team.entry("network", hosts=[team.host("network")], **NETWORK))
    relabel = ("label", "serviceentry", "frozen", "tried=true", "--dry-run=server")
    wait_until(lambda: team.kubectl(*relabel, check=False).returncode != 0, "it is frozen")


def write_entries(tour: Tour, team: Team) -> None:
    """What a team does: a change, a refusal, an exemption, a host that is claimed."""
    team.store(team.entry(ports=[HTTP, HTTPS], resolution="NONE"))
    refused = team.kubectl("create", manifest=team.entry("refused", **NETWORK), check=False)
    assert "SEG006" in refused.stderr
    until = {"serviceentry-guard.io/exempt-until": later(utc_day(), 9)}
    exempt = {"annotations": {"serviceentry-guard.io/exempt": "the vendor pins its addresses", **until}}
    team.store(team.entry("exempt", hosts=[team.host("exempt")], metadata=exempt))
    team.store(team.foreign("mine", team.host("mine")), team.entry("mine", hosts=[team.host("mine")]))
    exceed_a_limit_and_have_writes_refused(tour, team)
    wait_until(lambda: is_told_after_a_deletion(tour, team), "a contested object is told", 120.0)
    told = {reason.name for reason in REASONS}
    try:
        wait_until(lambda: tour.reasons() >= told, "every reason is told", 60.0)
    except TimeoutError as error:
        raise AssertionError(f"{error}; these are not: {sorted(told - tour.reasons())}") from None
    tour.expect("serviceentry_guard_ca_bundle_writes_total")
    tour.expect("serviceentry_guard_backstop_writes_total")


def exceed_a_limit_and_have_writes_refused(tour: Tour, team: Team) -> None:
    """More routes than the policy allows, a namespace that takes no VirtualServices, and a claim from another one."""
    ports = [{**HTTP, "number": 8000 + number, "name": f"p{number}"} for number in range(200)]
    team.store(team.entry("wide", hosts=[team.host(f"wide-{number}") for number in range(3)], ports=ports))
    tour.control_plane.kubectl("create", "--filename=-", stdin=json.dumps(refusing()))
    refused = Team.create(tour.control_plane, tour.client, "refused", LABEL)
    attempt = ("create", "--dry-run=server")
    probe = refused.foreign("probe", refused.host())
    wait_until(lambda: refused.kubectl(*attempt, manifest=probe, check=False).returncode != 0, "it is in force")
    refused.store(refused.entry())
    claimed = team.host("claimed")
    elsewhere = Team.create(tour.control_plane, tour.client, "elsewhere")
    elsewhere.store(elsewhere.foreign("theirs", claimed))
    team.store(team.entry("claimed", hosts=[claimed]))


def change_the_policy_while_the_api_server_is_away(tour: Tour) -> None:
    """All that was emitted is to be written anew, an entry is exempt now, and nothing can be written or told."""
    tour.control_plane._apiserver.child.kill()
    exempting = {"namespaces": ["missed"]}
    tour.policy.write_text(policy(virtualService={"timeout": "31s"}, exemptions=exempting))
    tour.expect("controller_runtime_reconcile_errors_total", controller="emission")
    tour.expect("serviceentry_guard_watch_restarts_total", reason="failed")
    tour.expect("serviceentry_guard_events_dropped_total")
    tour.expect("serviceentry_guard_backstop_failures_total")
    tour.expect("serviceentry_guard_certificate_failures_total")
    tour.control_plane._apiserver.start()
    tour.policy.write_text("kind: Nonsense")
    tour.both_say("serviceentry_guard_policy_reload_failures_total 1.0")
    tour.policy.write_text(policy(virtualService={"timeout": "31s"}))
    tour.both_say("serviceentry_guard_policy_last_reload_successful 1.0")
    # Until it leads again, it shows nothing of what is there.
    wait_until(lambda: tour.counted("serviceentry_guard_unfixable_entries", namespace="missed"), "it leads again", 60.0)
    for name in ("host_conflicts", "host_claims", "limited_entries", "refused_objects"):
        wait_until(partial(tour.counted, f"serviceentry_guard_{name}"), f"{name} are shown again", 60.0)


def shown(port: int) -> dict[str, list[tuple[frozenset[str], float]]]:
    """The samples of each series: the names of the labels, and the value."""
    found = defaultdict[str, list[tuple[frozenset[str], float]]](list)
    for family in text_string_to_metric_families(fetch(port, "/metrics")):
        for sample in family.samples:
            if not sample.name.startswith("process_"):
                found[sample.name].append((frozenset(sample.labels) - {"le"}, sample.value))
    return found


@pytest.mark.parametrize("process", ["webhook", "controller"])
def test_every_metric_is_there_as_it_is_documented_and_was_moved(tour: Tour, process: str) -> None:
    webhook, controller = both()
    port = tour.webhook.health_port if process == "webhook" else tour.controller.health_port
    reference: dict[str, Documented] = webhook if process == "webhook" else controller
    exposed = shown(port)
    moved = [one for name, one in reference.items() if name not in OPT_IN]
    assert exposed.keys() - OPT_IN == {series for one in moved for series in one.series}
    for one in moved:
        for series in one.series:
            assert {labels for labels, _ in exposed[series]} == {frozenset(one.labels)}
            assert one.name in MOMENTARY or any(value > 0 for _, value in exposed[series]), series


@pytest.mark.parametrize("process", ["webhook", "controller"])
def test_promtool_finds_nothing_to_say_of_all_of_it(tour: Tour, process: str) -> None:
    promtool = require("promtool")
    exposed = fetch(tour.webhook.health_port if process == "webhook" else tour.controller.health_port, "/metrics")
    checked = subprocess.run([promtool, "check", "metrics"], input=exposed, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_written_events_are_exactly_the_documented_ones_each_once(tour: Tour) -> None:
    documented = {reason.name: (reason.type, reason.action) for reason in REASONS}
    events = [
        event
        for event in tour.client.list_page(EVENTS).items
        if event["reportingController"] == "serviceentry-guard" and event["regarding"]["kind"] == "ServiceEntry"
    ]
    assert {event["reason"]: (event["type"], event["action"]) for event in events} == documented
    told = Counter((event["regarding"]["name"], event["reason"], event["note"]) for event in events)
    assert max(told.values()) == 1, "each was told once"


def test_findings_are_counted_by_codes_of_the_catalogue(tour: Tour) -> None:
    for name in ("webhook", "controller"):
        port = tour.webhook.health_port if name == "webhook" else tour.controller.health_port
        families = text_string_to_metric_families(fetch(port, "/metrics"))
        codes = {sample.labels["code"] for family in families for sample in family.samples if "findings" in sample.name}
        assert codes
        assert codes <= FINDINGS.keys(), json.dumps(sorted(codes))
