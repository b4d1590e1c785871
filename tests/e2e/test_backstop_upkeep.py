"""The controller keeps the backstop in the cluster: made, followed, repaired, replaced and removed."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.cel.admission_policy import NAMES, Engine, backstop
from app.kube.client import Client
from app.kube.resources import ADMISSION_POLICIES, Resource
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller
from tests.bed.processes import wait_until
from tests.e2e.backstops import POLICY, Asker, entry, guard_policy, stored_policies
from tests.e2e.team import SECONDS, Team

pytestmark = pytest.mark.e2e

WRITES, FAILURES = "serviceentry_guard_backstop_writes_total", "serviceentry_guard_backstop_failures_total"
REFUSE = "serviceentry-guard-refuse"
VALIDATING = ADMISSION_POLICIES["ValidatingAdmissionPolicy"]
BINDINGS = ADMISSION_POLICIES["ValidatingAdmissionPolicyBinding"]
CIDR: dict[str, Any] = {"addresses": ["10.0.0.0/8"]}
GROUP = "admissionregistration.k8s.io"
ROLE = "rbac.authorization.k8s.io"

Start = Callable[..., Controller]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The file of the policy in force, the built-in one at first."""
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(POLICY))
    return path


@pytest.fixture
def make(cluster: ControlPlane, admin: Client, tmp_path: Path, policy: Path) -> Iterator[Start]:
    """Makes a controller that is yet to be started; afterwards nothing is left in the cluster."""

    def make(mode: str, kubeconfig: Path | None = None) -> Controller:
        arguments = [f"--policy={policy}", f"--backstop={mode}", "--no-leader-elect"]
        return Controller(cluster, tmp_path, arguments, kubeconfig)

    yield make
    for resource, item in stored_policies(admin):
        admin.delete(resource, None, item["metadata"]["name"])


@pytest.fixture
def start(make: Start) -> Iterator[Start]:
    """Starts a controller, and stops it after the test."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(make(*arguments))


@pytest.fixture
def asker(cluster: ControlPlane) -> Iterator[Asker]:
    """A connection to ask the API server about entries."""
    asker = Asker(cluster)
    yield asker
    asker.close()


def there(admin: Client) -> dict[tuple[str, str], Any]:
    """The specs of all admission policies and bindings, by kind and name."""
    return {(resource.kind, item["metadata"]["name"]): item["spec"] for resource, item in stored_policies(admin)}


def expect(admin: Client, document: Any, engine: Engine | None) -> None:
    """Wait until exactly the objects of a policy are there."""
    objects = backstop(guard_policy(document), engine) if engine else ()
    expected = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in objects}
    with suppress(TimeoutError):
        wait_until(lambda: there(admin) == expected, "they are there", SECONDS)
    assert there(admin) == expected


def versions(admin: Client) -> dict[tuple[str, str], str]:
    return {
        (resource.kind, item["metadata"]["name"]): item["metadata"]["resourceVersion"]
        for resource, item in stored_policies(admin)
    }


def edit(admin: Client, resource: Resource, name: str, change: Callable[[Any], None]) -> None:
    given = admin.get(resource, None, name)
    change(given)
    admin.replace(resource, given)


def test_without_any_webhook_the_api_server_refuses_what_cannot_be_repaired(
    start: Start, admin: Client, asker: Asker
) -> None:
    controller = start("validating")
    expect(admin, {}, Engine.VALIDATING)
    wait_until(lambda: asker.create(entry(**CIDR), "default").denial.startswith("SEG006 "), "it is refused", SECONDS)
    assert asker.create(entry(), "default").resolution is None  # to repair is the webhook's business
    assert controller.metric(FAILURES) == 0


@pytest.mark.usefixtures("native")
def test_the_native_engine_repairs_and_the_controller_emits(
    start: Start, cluster: ControlPlane, admin: Client, asker: Asker
) -> None:
    start("native")
    expect(admin, {}, Engine.NATIVE)
    wait_until(lambda: asker.create(entry(**CIDR), "default").denial != "", "it refuses", SECONDS)
    team = Team.create(cluster, admin, "native-team")
    team.store(team.entry(resolution="NONE"))
    assert team.stored()["spec"]["resolution"] == "DNS"
    assert team.virtual_service()["spec"]["hosts"] == [team.host()]


@pytest.mark.usefixtures("native")
def test_with_the_native_engine_entries_that_share_a_host_are_decided_as_a_whole(
    start: Start, cluster: ControlPlane, admin: Client, asker: Asker
) -> None:
    def comes_out(given: Any, namespace: str) -> Any:  # refused for a moment, while another policy is taken up
        return asker.create(given, namespace).body.get("spec", {}).get("resolution")

    start("native")
    team = Team.create(cluster, admin, "native-siblings")
    wait_until(lambda: comes_out(entry(), team.namespace) == "DNS", "it changes", SECONDS)
    ssh = {"number": 22, "name": "ssh", "protocol": "TCP"}
    team.store(team.entry("ssh", ports=[ssh], resolution="NONE"))
    team.kubectl("apply", manifest=team.entry("slipped", resolution="NONE"))  # most likely before the policies know
    web = team.entry("web", resolution="NONE")
    wait_until(lambda: comes_out(web, team.namespace) == "NONE", "it is kept", SECONDS)
    wait_until(lambda: team.stored("slipped")["spec"]["resolution"] == "NONE", "it is put back", SECONDS)
    team.delete("ssh")
    wait_until(lambda: comes_out(web, team.namespace) == "DNS", "it is changed again", SECONDS)
    team.delete("slipped")


def test_deleted_or_edited_admission_policies_are_repaired(start: Start, admin: Client) -> None:
    start("validating")
    expect(admin, {}, Engine.VALIDATING)
    admin.delete(VALIDATING, None, REFUSE)
    expect(admin, {}, Engine.VALIDATING)
    admin.delete(BINDINGS, None, REFUSE)
    expect(admin, {}, Engine.VALIDATING)
    nowhere = {"namespaceSelector": {"matchLabels": {"no": "where"}}}
    edits: list[tuple[Resource, Callable[[Any], None]]] = [
        (BINDINGS, lambda one: one["spec"].update(validationActions=["Audit"])),
        (BINDINGS, lambda one: one["spec"].update(matchResources=nowhere)),
        (VALIDATING, lambda one: one["spec"].update(failurePolicy="Ignore")),
        (VALIDATING, lambda one: one["spec"]["matchConditions"].append({"name": "never", "expression": "false"})),
        (VALIDATING, lambda one: one["spec"].update(validations=[{"expression": "true"}])),
    ]
    for resource, change in edits:
        edit(admin, resource, REFUSE, change)
        expect(admin, {}, Engine.VALIDATING)


@pytest.mark.usefixtures("native")
def test_nothing_is_written_where_everything_is_right(start: Start, admin: Client, asker: Asker) -> None:
    first = start("native")
    expect(admin, {}, Engine.NATIVE)
    before = versions(admin)
    written = first.metric(WRITES)
    assert written == len(before)
    second = start("native")
    gets = {"verb": "get", "code": "200"}
    wait_until(lambda: second.metric("rest_client_requests_total", **gets) > len(before), "it looked twice", SECONDS)
    assert versions(admin) == before
    assert second.metric(WRITES) == 0
    assert first.metric(WRITES) == written
    assert asker.create(entry(), "default").resolution == "DNS"


@pytest.mark.usefixtures("native")
def test_another_policy_is_followed(start: Start, admin: Client, policy: Path) -> None:
    start("native")
    expect(admin, {}, Engine.NATIVE)
    for document in (
        {"exemptions": {"hosts": ["*.corp.example"]}},
        {"mode": "Warn", "namespaces": [{"match": ["shop-*"], "mode": "Enforce"}]},
        {"mode": "Warn"},
        {"mode": "Off"},
        {},
    ):
        policy.write_text(yaml.safe_dump({**POLICY, **document}))
        expect(admin, document, Engine.NATIVE)


@pytest.mark.usefixtures("native")
def test_another_engine_takes_over_and_none_removes_everything(make: Start, start: Start, admin: Client) -> None:
    with make("native"):
        expect(admin, {}, Engine.NATIVE)
    with make("validating"):
        expect(admin, {}, Engine.VALIDATING)
    start("none")
    expect(admin, {}, None)


def test_admission_policies_without_our_label_stay_unchanged_even_under_our_name(
    make: Start, start: Start, admin: Client
) -> None:
    kind, name = NAMES[0]
    (theirs, binding, *_) = backstop(guard_policy({}), Engine.VALIDATING)
    foreign = {**theirs, "metadata": {"name": name}, "spec": {**theirs["spec"], "failurePolicy": "Ignore"}}
    admin.create(ADMISSION_POLICIES[kind], foreign)
    ours = (binding["kind"], binding["metadata"]["name"])
    with make("validating"):
        wait_until(lambda: ours in there(admin), "ours is there", SECONDS)
        assert there(admin)[kind, name] == foreign["spec"]
    start("none")
    wait_until(lambda: ours not in there(admin), "ours is gone", SECONDS)
    assert there(admin) == {(kind, name): foreign["spec"]}


def grant(cluster: ControlPlane, user: str, *rules: Any) -> Path:
    """Return the kubeconfig of a user that has these rights in the whole cluster."""
    meta = {"name": user}
    role = {"apiVersion": f"{ROLE}/v1", "kind": "ClusterRole", "metadata": meta, "rules": list(rules)}
    subject = {"apiGroup": ROLE, "kind": "User", "name": user}
    reference = {"apiGroup": ROLE, "kind": "ClusterRole", "name": user}
    bound = {"roleRef": reference, "subjects": [subject]}
    binding = {"apiVersion": f"{ROLE}/v1", "kind": "ClusterRoleBinding", "metadata": meta, **bound}
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": [role, binding]})
    cluster.kubectl("create", "--filename=-", stdin=manifest)
    return cluster.user_kubeconfig(user)


EMITS = {"apiGroups": ["networking.istio.io"], "resources": ["*"], "verbs": ["*"]}


@pytest.mark.usefixtures("native")
def test_the_rights_that_the_docs_name_are_enough(make: Start, cluster: ControlPlane, admin: Client) -> None:
    plurals = [resource.plural for resource in ADMISSION_POLICIES.values()]
    names = sorted({name for _, name in NAMES})
    create = {"apiGroups": [GROUP], "resources": plurals, "verbs": ["create"]}
    keep = {"apiGroups": [GROUP], "resources": plurals, "resourceNames": names, "verbs": ["get", "patch", "delete"]}
    keeper = grant(cluster, "keeper", EMITS, create, keep)
    with make("native", keeper) as controller:
        expect(admin, {}, Engine.NATIVE)
        admin.delete(VALIDATING, None, REFUSE)
        edit(admin, BINDINGS, REFUSE, lambda one: one["spec"].update(validationActions=["Audit"]))
        expect(admin, {}, Engine.NATIVE)
        assert controller.metric(FAILURES) == 0
    remover = grant(cluster, "remover", EMITS, {**keep, "verbs": ["get", "delete"]})
    with make("none", remover):
        expect(admin, {}, None)


def test_without_rights_and_without_a_backstop_nothing_fails(
    start: Start, cluster: ControlPlane, tmp_path: Path
) -> None:
    controller = start("none", grant(cluster, "nobody", EMITS))
    log = tmp_path / f"controller-{controller.health_port}.log"
    wait_until(lambda: "an earlier backstop setting" in log.read_text(), "it says so", SECONDS)
    assert controller.metric(FAILURES) == 0


def test_without_rights_a_backstop_that_is_wanted_fails_and_the_log_says_why(
    start: Start, cluster: ControlPlane, tmp_path: Path
) -> None:
    controller = start("validating", grant(cluster, "powerless", EMITS))
    wait_until(lambda: controller.metric(FAILURES) > 0, "it fails", SECONDS)
    log = (tmp_path / f"controller-{controller.health_port}.log").read_text()
    assert 'User "powerless" cannot get resource "validatingadmissionpolicybindings"' in log.replace("\\", "")
