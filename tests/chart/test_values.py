"""Every value is documented, is in the schema, does something, and is refused by its name when it is wrong."""

import json
from typing import Any

import pytest
import yaml

from app.core.policy.reader import parse_policy
from app.serving.health import STARTUP_SECONDS
from tests.chart.helm import NAMESPACE, RELEASE, Helm, Manifest, kind
from tests.chart.value_sets import OUTSIDE, PEM, PROVIDED, Values, at, over
from tools.reference.chart import CHART, SCHEMA, VALUES, values

DESCRIBED = [path for path, _, _ in values()]
CERT_MANAGER: Values = {"certificates": {"mode": "cert-manager"}}
SCALED: Values = {"webhook": {"autoscaling": {"enabled": True}}}
MONITORED: Values = {"metrics": {"serviceMonitor": {"enabled": True}}}
LABELS = {"a": "b"}
CLIENTS: Values = {"webhook": {"clientCA": {"configMap": "api-servers"}}}
PEERS: list[Any] = [{"podSelector": {}}]
PODS: dict[str, Any] = {
    "replicas": 3,
    "healthPort": 9000,
    "terminationGracePeriodSeconds": 60,
    "resources": {"limits": {"cpu": "1"}},
    "priorityClassName": "high",
    "nodeSelector": LABELS,
    "tolerations": [{"key": "a"}],
    "affinity": {"podAffinity": {}},
    "topologySpreadConstraints": [{"topologyKey": "rack"}],
    "podAnnotations": LABELS,
    "podLabels": LABELS,
    "extraArgs": ["--lease-duration=20"],
    "extraEnv": [{"name": "A", "value": "b"}],
    "podDisruptionBudget.enabled": False,
    "podDisruptionBudget.maxUnavailable": "50%",
    "dnsPolicy": "Default",
    "extraVolumes": [{"name": "a", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "a", "mountPath": "/a"}],
    "revisionHistoryLimit": 2,
    "updateStrategy": {"rollingUpdate": {"maxSurge": 2}},
    "serviceAccount.create": False,
    "serviceAccount.name": "other",
    "serviceAccount.annotations": LABELS,
}
CHANGES: dict[str, tuple[Any, Values]] = {
    "global.imageRegistry": ("registry.example.com", {}),
    "global.imagePullSecrets": (["a"], {}),
    "namespaceOverride": ("other", {}),
    "nameOverride": ("other", {}),
    "fullnameOverride": ("other", {}),
    "commonLabels": (LABELS, {}),
    "image.registry": ("registry.example.com", {}),
    "image.repository": ("other", {}),
    "image.tag": ("1", {}),
    "image.digest": (f"sha256:{'1' * 64}", {}),
    "image.pullPolicy": ("Always", {}),
    "imagePullSecrets": ([{"name": "a"}], {}),
    "policy": ({"mode": "Warn"}, {}),
    "policyConfigMap": ("other", {}),
    "admission.engine": ("native", {}),
    "admission.backstop": (True, {}),
    "admission.skipCompliant": (False, {}),
    "admission.mutating.failurePolicy": ("Fail", {}),
    "admission.mutating.timeoutSeconds": (5, {}),
    "admission.validating.failurePolicy": ("Ignore", {}),
    "admission.validating.timeoutSeconds": (5, {}),
    "admission.excludedNamespaces": (["istio-system"], {}),
    "admission.namespaceSelector": ({"matchLabels": LABELS}, {}),
    "admission.matchConditions": ([{"name": "a", "expression": "true"}], {}),
    "certificates.mode": ("cert-manager", {}),
    "certificates.secretName": ("other", PROVIDED),
    "certificates.caBundle": (PEM, PROVIDED),
    "certificates.certManager.issuerRef": ({"name": "a"}, CERT_MANAGER),
    "certificates.certManager.duration": ("24h", CERT_MANAGER),
    "certificates.certManager.renewBefore": ("8h", CERT_MANAGER),
    "webhook.url": ("https://webhook.example.com", PROVIDED),
    **{f"webhook.{name}": (value, {}) for name, value in PODS.items()},
    "webhook.port": (9443, {}),
    "webhook.hostNetwork": (True, {"webhook": {"port": 9443}}),
    "webhook.bindAddress": ("::", {}),
    "webhook.clientCA.configMap": ("api-servers", {}),
    "webhook.clientCA.secret": ("api-servers", {}),
    "webhook.clientCA.key": ("other.crt", CLIENTS),
    "webhook.clientCA.allowedSubjects": (["kube-apiserver"], CLIENTS),
    "webhook.priorityClass.create": (False, {}),
    "webhook.priorityClass.value": (1000, {}),
    "webhook.serviceIPFamilies": (["IPv6"], {}),
    "webhook.serviceIPFamilyPolicy": ("PreferDualStack", {}),
    "probes": ({"liveness": {"periodSeconds": 20}}, {}),
    "webhook.preStopSeconds": (0, {}),
    "webhook.serviceAnnotations": (LABELS, {}),
    "webhook.autoscaling.enabled": (True, {}),
    "webhook.autoscaling.minReplicas": (3, SCALED),
    "webhook.autoscaling.maxReplicas": (9, SCALED),
    "webhook.autoscaling.targetCPUUtilizationPercentage": (50, SCALED),
    **{f"controller.{name}": (value, {}) for name, value in PODS.items()},
    "controller.serviceAccountAnnotations": (LABELS, {}),
    "controller.remediationRate": (0.5, {}),
    "controller.reports": (False, {}),
    "controller.prometheus.url": ("http://prometheus.monitoring:9090", {}),
    "controller.prometheus.matchers": (
        ['cluster="prod"'],
        {"controller": {"prometheus": {"url": "http://prometheus.monitoring:9090"}}},
    ),
    "logging.level": ("debug", {}),
    "logging.format": ("json", {}),
    "tracing.otlpEndpoint": ("http://collector:4318", {}),
    "podSecurityContext": ({"fsGroup": 1}, {}),
    "securityContext": ({"runAsUser": 1}, {}),
    "networkPolicy.enabled": (False, {}),
    "networkPolicy.metricsFrom": (PEERS, {}),
    "networkPolicy.apiServer": ([{"to": PEERS}], {}),
    "networkPolicy.egress": ([{"to": PEERS}], {}),
    "metrics.serviceMonitor.enabled": (True, {}),
    "metrics.serviceMonitor.interval": ("5s", MONITORED),
    "metrics.serviceMonitor.labels": (LABELS, MONITORED),
    "metrics.serviceMonitor.scrapeTimeout": ("5s", MONITORED),
    "metrics.serviceMonitor.relabelings": ([{"action": "drop"}], MONITORED),
    "metrics.serviceMonitor.metricRelabelings": ([{"action": "drop"}], MONITORED),
    "metrics.prometheusRule.enabled": (True, {}),
    "metrics.prometheusRule.labels": (LABELS, {"metrics": {"prometheusRule": {"enabled": True}}}),
    "metrics.prometheusRule.runbook": (
        "https://example.com/runbook",
        {"metrics": {"prometheusRule": {"enabled": True}}},
    ),
    "metrics.dashboard.enabled": (True, {}),
    "metrics.dashboard.labels": (LABELS, {"metrics": {"dashboard": {"enabled": True}}}),
    "metrics.dashboard.annotations": (LABELS, {"metrics": {"dashboard": {"enabled": True}}}),
    "doctor.probeNamespace": ("sandbox", {}),
    "cleanup.virtualServices": ("Remove", {}),
    "cleanup.timeoutSeconds": (900, {}),
}
"""Another value for each, and values beside which it counts."""
FILES = {"metrics.prometheusRule": "files/alerts.yaml", "metrics.dashboard": "files/dashboard.json"}
"""Files without which these values have nothing to put into the cluster."""


def present(path: str) -> bool:
    """Whether the chart has the file that a value needs."""
    return all((CHART / file).exists() for prefix, file in FILES.items() if path.startswith(prefix))


def leaves(tree: Any, path: str = "") -> list[str]:
    """The paths of all values of values.yaml, those of described groups left whole."""
    if path in DESCRIBED or not isinstance(tree, dict):
        return [path]
    return [leaf for name, one in tree.items() for leaf in leaves(one, f"{path}.{name}" if path else name)]


def test_every_value_is_described() -> None:
    assert leaves(yaml.safe_load(VALUES.read_text())) == DESCRIBED


def test_the_schema_knows_no_value_that_values_yaml_lacks() -> None:
    def paths(schema: Any, path: str = "") -> list[str]:
        name = schema.get("$ref", "").removeprefix("#/definitions/")
        schema = definitions[name] if name else schema
        if path in DESCRIBED or "properties" not in schema:
            return [path]
        return [leaf for key, one in schema["properties"].items() for leaf in paths(one, f"{path}.{key}".lstrip("."))]

    document = json.loads(SCHEMA.read_text())
    definitions = document["definitions"]
    assert sorted(paths(document)) == sorted(DESCRIBED)


def test_every_value_is_changed_below() -> None:
    assert sorted(CHANGES) == sorted(DESCRIBED)


@pytest.mark.parametrize("path", [path for path in CHANGES if present(path)])
def test_a_value_changes_the_rendered_manifests(helm: Helm, path: str) -> None:
    value, beside = CHANGES[path]
    assert helm.template(beside) != helm.template(over(beside, at(path, value)))


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("webhook.replicas", "two"),
        ("webhook.replicaz", 2),
        ("webhook.port", 0),
        ("webhook.url", "http://webhook.example.com"),
        ("controller.reports", "yes"),
        ("admission.engine", "kyverno"),
        ("admission.validating.failurePolicy", "fail"),
        ("admission.mutating.timeoutSeconds", 31),
        ("certificates.mode", "none"),
        ("certificates.caBundle", "not a certificate"),
        ("image.digest", "latest"),
        ("cleanup.virtualServices", "Half"),
        ("logging.level", "loud"),
        ("policy.mode", "Enforced"),
        ("policy.resolutions", {}),
        ("policy.virtualService.timeout", "0ms"),
        ("policy.virtualService.timeout", "30"),
        ("policy.virtualService.retries.attempts", 101),
        ("policy.scope.locations", []),
        ("polices", {}),
    ],
)
def test_a_value_out_of_the_schema_is_refused_by_its_name(helm: Helm, helm4: Helm, path: str, wrong: Any) -> None:
    for each in (helm, helm4):
        said = each.refusal(at(path, wrong))
        assert "values don't meet the specifications of the schema" in said
        assert path.rpartition(".")[2] in said


@pytest.mark.parametrize(
    ("values_", "name"),
    [
        ({"webhook": {"url": "https://webhook.example.com"}}, "webhook.url"),
        ({"certificates": {"mode": "provided"}}, "certificates.secretName"),
        ({"policy": {"mode": "Warn"}, "policyConfigMap": "other"}, "policyConfigMap"),
        ({"webhook": {"hostNetwork": True}}, "webhook.port"),
        ({"webhook": {"clientCA": {"configMap": "a", "secret": "b"}}}, "webhook.clientCA"),
        ({"webhook": {"clientCA": {"allowedSubjects": ["a"]}}}, "webhook.clientCA.allowedSubjects"),
        ({"webhook": {"hostNetwork": True, "port": 8081}}, "webhook.healthPort"),
        ({"webhook": {"autoscaling": {"enabled": True, "minReplicas": 7}}}, "webhook.autoscaling.minReplicas"),
        ({"commonLabels": {"app.kubernetes.io/name": "other"}}, "commonLabels"),
        ({"commonLabels": LABELS, "controller": {"podLabels": LABELS}}, "controller.podLabels"),
        (
            {"metrics": {"serviceMonitor": {"labels": {"app.kubernetes.io/name": "other"}}}},
            "metrics.serviceMonitor.labels",
        ),
        ({"commonLabels": LABELS, "metrics": {"prometheusRule": {"labels": LABELS}}}, "metrics.prometheusRule.labels"),
        ({"commonLabels": LABELS, "metrics": {"dashboard": {"labels": LABELS}}}, "metrics.dashboard.labels"),
    ],
)
def test_values_that_do_not_go_together_are_refused_by_name(helm: Helm, values_: Values, name: str) -> None:
    assert f"{name}: " in helm.refusal(values_)


def test_a_webhook_outside_needs_no_secret_in_the_cluster(helm: Helm) -> None:
    assert helm.objects(OUTSIDE)


@pytest.mark.parametrize("policy", [{}, {"virtualService": {"overrides": {"attempts": None, "retryOn": None}}}])
def test_the_policy_reaches_the_file_whole_null_included(helm: Helm, helm4: Helm, policy: Values) -> None:
    for each in (helm, helm4):
        data = kind(each.objects({"policy": policy}), "ConfigMap", "serviceentry-guard-policy")["data"]["policy.yaml"]
        document = yaml.safe_load(data)
        parse_policy(document)
        assert {name: one for name, one in document.items() if name not in {"apiVersion", "kind", "metadata"}} == policy


def test_the_native_engine_is_refused_where_the_api_server_lacks_it(helm: Helm) -> None:
    values_ = ["--set=admission.engine=native", f"--namespace={NAMESPACE}"]
    for version, code in (("1.35.9", 1), ("1.36.0", 0), ("1.36.1-gke.1", 0)):
        done = helm.run("template", RELEASE, CHART, f"--kube-version={version}", *values_, check=False)
        assert done.returncode == code, done.stderr
        assert code == 0 or "native needs Kubernetes 1.36 or newer, and this cluster has v1.35.9" in done.stderr


def test_a_chart_that_holds_this_one_sets_registry_and_pull_secrets(helm: Helm) -> None:
    given = {"global": {"imageRegistry": "registry.example.com", "imagePullSecrets": ["a", {"name": "b"}]}}
    for pod in pods(helm.objects(over({"imagePullSecrets": [{"name": "c"}]}, given))):
        assert pod["imagePullSecrets"] == [{"name": "c"}, {"name": "a"}, {"name": "b"}]
        assert all(one["image"].startswith("registry.example.com/serviceentry-guard:") for one in pod["containers"])


def test_nothing_is_left_in_the_namespace_of_the_release_if_there_is_another(helm: Helm) -> None:
    text = helm.template({"namespaceOverride": "elsewhere"})
    assert NAMESPACE not in text


def test_pods_on_the_network_of_nodes_still_find_services(helm: Helm) -> None:
    objects = helm.objects({"webhook": {"hostNetwork": True, "port": 10260}})
    spec = kind(objects, "Deployment", "serviceentry-guard-webhook")["spec"]["template"]["spec"]
    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")


@pytest.mark.parametrize(
    ("endpoint", "port"), [("http://collector.tracing:4318", 4318), ("https://traces.example.com/v1", 443)]
)
def test_an_endpoint_for_traces_may_be_reached(helm: Helm, endpoint: str, port: int) -> None:
    policies = [one for one in helm.objects({"tracing": {"otlpEndpoint": endpoint}}) if one["kind"] == "NetworkPolicy"]
    for one in policies:
        opened = [open_["port"] for rule in one["spec"].get("egress", []) for open_ in rule.get("ports", [])]
        component = one["metadata"]["labels"]["app.kubernetes.io/component"]
        assert (port in opened and 53 in opened) == (component in {"webhook", "controller"})


@pytest.mark.parametrize("source", ["configMap", "secret"])
def test_the_ca_of_the_clients_is_mounted_where_the_flag_looks_for_it(helm: Helm, source: str) -> None:
    given = {"webhook": {"clientCA": {source: "api-servers", "key": "a.crt", "allowedSubjects": ["a", "b"]}}}
    spec = kind(helm.objects(given), "Deployment", "serviceentry-guard-webhook")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == "client-ca"]
    assert f"--client-ca-file={mount['mountPath']}/a.crt" in container["args"]
    assert [one for one in container["args"] if "subject" in one] == [
        "--client-allowed-subject=a", "--client-allowed-subject=b",
    ]  # fmt: skip
    (volume,) = [one for one in spec["volumes"] if one["name"] == "client-ca"]
    assert "api-servers" in str(volume)


def test_a_webhook_that_may_refuse_goes_before_ordinary_pods(helm: Helm) -> None:
    objects = helm.objects({})
    own = kind(objects, "PriorityClass")
    spec = kind(objects, "Deployment", "serviceentry-guard-webhook")["spec"]["template"]["spec"]
    assert spec["priorityClassName"] == own["metadata"]["name"]
    assert 0 < own["value"] <= 1_000_000_000
    chosen = helm.objects({"webhook": {"priorityClassName": "system-cluster-critical"}})
    assert not [one for one in chosen if one["kind"] == "PriorityClass"]


def test_a_probe_is_merged_into_the_default_probe(helm: Helm) -> None:
    for pod in pods(helm.objects({"probes": {"readiness": {"periodSeconds": 7}}}), "Deployment"):
        probe = pod["containers"][0]["readinessProbe"]
        assert probe["httpGet"] == {"path": "/readyz?exclude=drain", "port": "health"}
        assert (probe["periodSeconds"], probe["timeoutSeconds"]) == (7, 2)


def test_the_first_probe_waits_until_the_process_is_ready(helm: Helm) -> None:
    """The kubelet reports each probe that fails as a Warning Event; to wait for a first certificate is no failure."""
    for pod in pods(helm.objects({}), "Deployment"):
        startup = pod["containers"][0]["startupProbe"]
        assert startup["httpGet"] == {"path": "/startupz", "port": "health"}
        assert startup["timeoutSeconds"] > STARTUP_SECONDS
        assert startup["initialDelaySeconds"] > 0


def test_helm_finds_a_pod_for_every_hook_of_a_test(helm: Helm) -> None:
    """`helm test --logs` asks for the log of each hook as if it were a pod, after what hook-succeeded has deleted."""
    hooks = [one for one in helm.objects({}) if one["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"]
    assert [one["kind"] for one in hooks] == ["Pod"]
    assert hooks[0]["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"


def pods(objects: list[Manifest], *kinds: str) -> list[Any]:
    """The specs of all pods, or of those of some kinds of objects."""
    found = [one for one in objects if one["kind"] in (kinds or ("Deployment", "Job", "Pod"))]
    return [one["spec"] if one["kind"] == "Pod" else one["spec"]["template"]["spec"] for one in found]
