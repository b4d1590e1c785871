"""What the chart renders, for each set of values that is supported; no cluster is asked."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from app.core.cel.admission_policy import NAMES
from app.kube.resources import ADMISSION_POLICIES
from tests.chart.helm import NAMESPACE, RELEASE, Helm, Manifest, kind
from tests.chart.value_sets import OUTSIDE, PEM, PROVIDED, SETS, over
from tests.command import run
from tests.documents import as_text
from tools.reference.chart import CHART

CONFIGURATIONS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
STAGES = dict(zip(CONFIGURATIONS, ("mutate", "validate"), strict=True))


def pod_specs(objects: list[Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and spec of every pod that would run, hooks included."""
    for one in objects:
        if one["kind"] in {"Deployment", "Job"}:
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]
        elif one["kind"] == "Pod":
            yield one["metadata"]["name"], one["spec"]


@cache
def known_flags(command: str) -> set[str]:
    """The flags that a command says it has."""
    return set(re.findall(r"--[a-z-]+", run(command, "--help").stdout))


@pytest.fixture(scope="module")
def rendered(helm: Helm) -> dict[str, list[Manifest]]:
    """All objects of each set."""
    return {name: helm.objects(values) for name, values in SETS.items()}


@pytest.fixture
def objects(rendered: dict[str, list[Manifest]], request: pytest.FixtureRequest) -> list[Manifest]:
    """All objects of one set."""
    return rendered[request.param]


every_set = pytest.mark.parametrize("objects", SETS, indirect=True)


def home(objects: list[Manifest]) -> str:
    """The namespace of the installation."""
    return str(kind(objects, "Deployment", f"{RELEASE}-controller")["metadata"]["namespace"])


def webhook(objects: list[Manifest], wanted: str) -> dict[str, Any]:
    """The one webhook of a configuration."""
    (found,) = kind(objects, wanted, RELEASE)["webhooks"]
    return dict(found)


@pytest.mark.parametrize("name", SETS)
def test_lint_has_nothing_to_say(helm: Helm, name: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(as_text(SETS[name]))
    said = helm.run("lint", "--strict", f"--values={values}", "--kube-version=1.36", CHART).stdout
    assert "0 chart(s) failed" in said
    assert not re.findall(r"\[(?:WARNING|ERROR)\].*", said)


@pytest.mark.parametrize("name", SETS)
def test_both_versions_of_helm_render_the_same(helm: Helm, helm4: Helm, name: str) -> None:
    def by_name(one: Manifest) -> tuple[str, str]:
        return one["kind"], one["metadata"]["name"]

    assert sorted(helm.objects(SETS[name]), key=by_name) == sorted(helm4.objects(SETS[name]), key=by_name)


@every_set
def test_every_namespaced_object_is_in_the_release_s_namespace(objects: list[Manifest]) -> None:
    cluster_wide = {*CONFIGURATIONS, "ClusterRole", "ClusterRoleBinding", "PriorityClass"}
    for one in objects:
        place = "default" if one["metadata"]["name"].endswith("-probe") else home(objects)
        assert (one["metadata"].get("namespace") == place) == (one["kind"] not in cluster_wide)


@every_set
def test_no_object_poses_as_one_that_the_controller_made(objects: list[Manifest]) -> None:
    assert {one["metadata"]["labels"]["app.kubernetes.io/managed-by"] for one in objects} == {"Helm"}


@every_set
def test_services_and_budgets_select_the_pods_of_one_deployment(objects: list[Manifest]) -> None:
    deployments = [one for one in objects if one["kind"] == "Deployment"]
    for one in objects:
        if one["kind"] in {"Service", "PodDisruptionBudget", "NetworkPolicy"}:
            spec = one["spec"]
            selector = spec.get("podSelector", spec.get("selector"))
            wanted = selector.get("matchLabels", selector).items()
            hits = [each for each in deployments if wanted <= each["spec"]["template"]["metadata"]["labels"].items()]
            assert [hit["metadata"]["name"] for hit in hits] == [one["metadata"]["name"]] or (
                "helm.sh/hook" in one["metadata"].get("annotations", {})
                or one["metadata"]["name"] == f"{RELEASE}-doctor"
            )


@every_set
def test_pods_have_what_keeps_them_in_their_place(objects: list[Manifest]) -> None:
    for _, spec in pod_specs(objects):
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= container["resources"].keys()


@every_set
def test_only_pods_that_call_the_api_have_a_token(objects: list[Manifest]) -> None:
    tokens = {name: spec["automountServiceAccountToken"] for name, spec in pod_specs(objects)}
    expected = {f"{RELEASE}-{name}": name != "webhook" for name in ("webhook", "controller", "uninstall", "doctor")}
    assert tokens == {name: expected[name] for name in tokens}
    accounts = [one for one in objects if one["kind"] == "ServiceAccount"]
    assert not any(one["automountServiceAccountToken"] for one in accounts)
    made = {one["metadata"]["name"] for one in accounts}
    used = {spec["serviceAccountName"] for _, spec in pod_specs(objects)}
    assert made <= used
    assert len(used) == len(tokens)


def test_accounts_are_those_of_the_pods(rendered: dict[str, list[Manifest]]) -> None:
    def accounts(name: str) -> set[str]:
        return {one["metadata"]["name"] for one in rendered[name] if one["kind"] == "ServiceAccount"}

    assert accounts("default") == {f"{RELEASE}-{name}" for name in ("webhook", "controller", "uninstall", "doctor")}
    assert accounts("apart") == accounts("default") - {f"{RELEASE}-webhook"}
    assert "webhook" in accounts("everything")


@every_set
def test_every_flag_is_one_that_its_command_has(objects: list[Manifest]) -> None:
    for _, spec in pod_specs(objects):
        command, *flags = spec["containers"][0]["args"]
        assert {flag.partition("=")[0] for flag in flags} <= known_flags(command)


@every_set
def test_the_webhook_configurations_are_as_the_issue_has_them(objects: list[Manifest]) -> None:
    for wanted, seconds in zip(CONFIGURATIONS, (2, 3), strict=True):
        if wanted not in {one["kind"] for one in objects}:
            continue
        found = webhook(objects, wanted)
        assert found["failurePolicy"] == "Ignore"  # until the controller has seen the webhook answer
        assert found["timeoutSeconds"] == seconds
        assert found["matchPolicy"] == "Equivalent"
        assert found["sideEffects"] == "None"
        assert found["admissionReviewVersions"] == ["v1"]
        assert found["rules"] == [
            {
                "apiGroups": ["networking.istio.io"],
                "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["serviceentries"],
                "scope": "Namespaced",
            }
        ]
        own = found["namespaceSelector"]["matchExpressions"][0]
        assert own == {
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": ["kube-system", home(objects)],
        }
        assert found.get("reinvocationPolicy") == ("IfNeeded" if wanted == CONFIGURATIONS[0] else None)


@every_set
def test_ca_bundle_is_written_only_by_the_controller_and_the_injector(objects: list[Manifest]) -> None:
    configurations = [one for one in objects if one["kind"] in CONFIGURATIONS]
    assert not any("caBundle" in one["webhooks"][0]["clientConfig"] for one in configurations)


def test_a_provided_ca_bundle_is_written(helm: Helm) -> None:
    found = helm.objects(over(PROVIDED, {"certificates": {"caBundle": PEM}}))
    assert all(webhook(found, wanted)["clientConfig"]["caBundle"] for wanted in CONFIGURATIONS)


def test_cert_manager_injects_from_the_certificate_that_the_pods_serve(rendered: dict[str, list[Manifest]]) -> None:
    objects = rendered["cert-manager"]
    certificate = kind(objects, "Certificate", f"{RELEASE}-tls")
    for wanted in CONFIGURATIONS:
        annotations = kind(objects, wanted)["metadata"]["annotations"]
        assert annotations == {"cert-manager.io/inject-ca-from": f"{NAMESPACE}/{RELEASE}-tls"}
    assert certificate["spec"]["dnsNames"] == [f"{RELEASE}-webhook.{NAMESPACE}.svc"]
    volumes = kind(objects, "Deployment", f"{RELEASE}-webhook")["spec"]["template"]["spec"]["volumes"]
    assert certificate["spec"]["secretName"] in [volume.get("secret", {}).get("secretName") for volume in volumes]


def test_the_service_leads_to_port_10250(rendered: dict[str, list[Manifest]]) -> None:
    objects = rendered["default"]
    service = kind(objects, "Service", f"{RELEASE}-webhook")
    (port,) = [port for port in service["spec"]["ports"] if port["port"] == 443]
    (container,) = kind(objects, "Deployment", f"{RELEASE}-webhook")["spec"]["template"]["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports[port["targetPort"]] == 10250
    for wanted in CONFIGURATIONS:
        assert webhook(objects, wanted)["clientConfig"]["service"] == {
            "name": service["metadata"]["name"],
            "namespace": NAMESPACE,
            "path": f"/{STAGES[wanted]}",
            "port": 443,
        }


def test_a_webhook_outside_is_asked_by_url_and_none_runs_inside(rendered: dict[str, list[Manifest]]) -> None:
    objects = rendered["outside"]
    for wanted in CONFIGURATIONS:
        assert webhook(objects, wanted)["clientConfig"] == {"url": f"{OUTSIDE['webhook']['url']}/{STAGES[wanted]}"}
    assert f"{RELEASE}-webhook" not in {one["metadata"]["name"] for one in objects}


def test_the_grace_period_has_room_for_the_pause_and_the_drain(rendered: dict[str, list[Manifest]]) -> None:
    deployment = kind(rendered["default"], "Deployment", f"{RELEASE}-webhook")
    spec = deployment["spec"]["template"]["spec"]
    pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain_and_stop = 10 + 5  # app.settings.WebhookSettings
    assert spec["terminationGracePeriodSeconds"] > pause + drain_and_stop
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_rights_follow_from_the_values(rendered: dict[str, list[Manifest]]) -> None:
    def rules(name: str) -> str:
        return str([one["rules"] for one in rendered[name] if one["kind"] in {"ClusterRole", "Role"}])

    def controller(name: str) -> dict[str, Any]:
        found = kind(rendered[name], "ClusterRole", f"{RELEASE}-controller")["rules"]
        return {resource: rule["verbs"] for rule in found for resource in rule["resources"]}

    assert "patch" not in controller("report")["serviceentries"]
    assert "patch" in controller("default")["serviceentries"]
    assert "patch" in controller("remediate")["serviceentries"]
    assert "patch" in controller("policy-elsewhere")["serviceentries"]
    assert "secrets" in rules("default")
    assert "secrets" not in rules("cert-manager")
    assert controller("provided")["mutatingwebhookconfigurations"] == ["get", "patch"]
    assert "*" not in str([rule["verbs"] for one in rendered["everything"] for rule in one.get("rules", ())])


@pytest.mark.parametrize(("name", "kept"), [("default", ""), ("backstop", "validating"), ("native", "")])
def test_rights_to_admission_policies_follow_the_backstop(
    name: str, kept: str, rendered: dict[str, list[Manifest]]
) -> None:
    rules = kind(rendered[name], "ClusterRole", f"{RELEASE}-controller")["rules"]
    for resource in ADMISSION_POLICIES.values():
        about = [rule for rule in rules if resource.plural in rule["resources"]]
        is_kept = name == "native" or bool(kept and resource.plural.startswith(kept))
        assert {verb for rule in about for verb in rule["verbs"]} == {"get", "delete"} | (
            {"create", "patch"} if is_kept else set()
        )
        for rule in about:
            assert set(rule["resourceNames"]) == {name for _, name in NAMES}


@every_set
def test_rights_on_admission_policies_are_for_the_names_of_the_backstop(objects: list[Manifest]) -> None:
    names = {name for _, name in NAMES}
    for one in objects:
        for rule in one.get("rules", ()):
            if any("admissionpolic" in resource for resource in rule["resources"]):
                assert set(rule["resourceNames"]) == names


def test_uninstall_runs_before_anything_is_deleted_and_cleans_up_behind_itself(
    rendered: dict[str, list[Manifest]],
) -> None:
    hooks = [one for one in rendered["default"] if one["metadata"]["name"] == f"{RELEASE}-uninstall"]
    annotations = [one["metadata"]["annotations"] for one in hooks]
    assert {each["helm.sh/hook"] for each in annotations} == {"pre-delete"}
    assert {each["helm.sh/hook-delete-policy"] for each in annotations} == {"before-hook-creation,hook-succeeded"}
    last = max(hooks, key=lambda one: int(one["metadata"]["annotations"]["helm.sh/hook-weight"]))
    assert last["kind"] == "Job"
    assert "--keep-objects" in last["spec"]["template"]["spec"]["containers"][0]["args"]
    removing = kind(rendered["remove"], "Job")
    assert "--remove-objects" in removing["spec"]["template"]["spec"]["containers"][0]["args"]
