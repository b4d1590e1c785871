"""Every value is documented, is in the schema, does something, and is refused by its name when it is wrong."""

import json
from typing import Any

import pytest
import yaml

from app.core.policy.reader import parse_policy
from tests.chart.helm import Helm, kind
from tests.chart.value_sets import OUTSIDE, PEM, PROVIDED, Values, at, over
from tools.reference.chart import CHART, SCHEMA, VALUES, values

DESCRIBED = [path for path, _, _ in values()]
CERT_MANAGER: Values = {"certificates": {"mode": "cert-manager"}}
SCALED: Values = {"webhook": {"autoscaling": {"enabled": True}}}
MONITORED: Values = {"metrics": {"serviceMonitor": {"enabled": True}}}
LABELS = {"a": "b"}
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
}
CHANGES: dict[str, tuple[Any, Values]] = {
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
    "webhook.hostNetwork": (True, {}),
    "webhook.preStopSeconds": (0, {}),
    "webhook.serviceAnnotations": (LABELS, {}),
    "webhook.autoscaling.enabled": (True, {}),
    "webhook.autoscaling.minReplicas": (3, SCALED),
    "webhook.autoscaling.maxReplicas": (9, SCALED),
    "webhook.autoscaling.targetCPUUtilizationPercentage": (50, SCALED),
    **{f"controller.{name}": (value, {}) for name, value in PODS.items()},
    "controller.remediationRate": (0.5, {}),
    "controller.reports": (False, {}),
    "controller.prometheus.url": ("http://prometheus.monitoring:9090", {}),
    "controller.prometheus.matchers": (
        ['cluster="prod"'],
        {"controller": {"prometheus": {"url": "http://prometheus.monitoring:9090"}}},
    ),
    "controller.serviceAccountAnnotations": (LABELS, {}),
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
    assert sorted(paths(document)) == sorted([*DESCRIBED, "global"])


def test_every_value_is_changed_below() -> None:
    assert sorted(CHANGES) == sorted(DESCRIBED)


@pytest.mark.parametrize("path", [path for path in CHANGES if present(path)])
def test_a_value_changes_what_is_rendered(helm: Helm, path: str) -> None:
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
