"""What the chart makes of the alerts and the dashboard: the same that is tested in tests/observability."""

import json

import yaml

from tests.chart.helm import NAMESPACE, RELEASE, Helm, Manifest, kind
from tests.chart.value_sets import SETS, Values
from tests.observability.watching import ALERTS, DASHBOARD

RUNBOOK = SETS["everything"]["metrics"]["prometheusRule"]["runbook"]
WATCHED: Values = {"metrics": {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}}


def rules(objects: list[Manifest]) -> Manifest:
    """What a PrometheusRule says."""
    return dict(kind(objects, "PrometheusRule")["spec"])


def test_helm_leaves_the_braces_of_prometheus_and_grafana_alone(helm: Helm) -> None:
    objects = helm.objects(WATCHED)
    assert rules(objects) == yaml.safe_load(ALERTS.read_text())
    assert "{{ $labels.stage }}" in str(rules(objects))
    dashboard = kind(objects, "ConfigMap", f"{RELEASE}-dashboard")["data"]
    assert json.loads(dashboard["serviceentry-guard.json"]) == json.loads(DASHBOARD.read_text())


def test_the_links_of_alerts_lead_to_the_runbook_that_is_named(helm: Helm) -> None:
    groups = rules(helm.objects(SETS["everything"]))["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOK}#{rule['alert'].lower()}"


def test_namespaces_in_metrics_are_kept_when_they_are_scraped(helm: Helm) -> None:
    monitors = [one for one in helm.objects(SETS["everything"]) if one["kind"] == "ServiceMonitor"]
    assert [one["metadata"]["namespace"] for one in monitors] == [NAMESPACE, NAMESPACE]
    assert all(endpoint["honorLabels"] for one in monitors for endpoint in one["spec"]["endpoints"])
