"""While every webhook pod is down, nothing is rejected in a namespace where the policy enforces nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.core.policy.model import Mode
from app.core.policy.reader import parse_policy
from app.core.resources.globs import matches
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.chart.helm import Helm, kind
from tests.chart.test_match_conditions import NONE, Api, failing, was_asked
from tests.chart.value_sets import Values, over
from tests.documents import as_text, documents
from tests.e2e.team import SECONDS

pytestmark = pytest.mark.e2e

VALIDATING = "ValidatingWebhookConfiguration"
NAMESPACES = ("here-a", "here-ab", "here-b", "here-b-c", "here-shop-test")
DEAD: Values = {
    "webhook": {"url": "https://127.0.0.1:1"},
    "certificates": {"mode": "provided"},
    "admission": {"namespaceSelector": {"matchLabels": {"here": "yes"}}},
}
POLICIES: list[dict[str, Any]] = [
    {},
    {"mode": "Warn", "namespaces": [{"match": ["here-a"], "mode": "Enforce"}]},
    {"namespaces": [{"match": ["here-a*"], "mode": "Off"}, {"match": ["HERE-AB", "here-b"], "mode": "Warn"}]},
    {"mode": "Off", "namespaces": [{"match": ["here-?"], "mode": "Enforce"}]},
    {"scope": {"excludedNamespaces": ["here-a", "*-test"]}},
    {
        "scope": {"excludedNamespaces": ["here-a*"]},
        "namespaces": [
            {"match": ["here-a"], "scope": {"excludedNamespaces": ["here-b"]}},
            {"match": ["here-ab"], "scope": {"locations": ["MESH_EXTERNAL", "MESH_INTERNAL"]}},
            {"match": ["here-b"], "scope": {"excludedNamespaces": ["*"]}},
        ],
    },
    {"namespaces": [{"match": ["here-b-?", "here.a"], "mode": "Warn"}]},
]


@pytest.fixture(scope="module")
def apis(cluster: ControlPlane) -> Iterator[dict[str, Api]]:
    """Dry runs in each of the namespaces."""
    for name in NAMESPACES:
        cluster.kubectl("create", "namespace", name)
        cluster.kubectl("label", "namespace", name, "here=yes")
    apis = {name: Api(cluster, name) for name in NAMESPACES}
    yield apis
    for api in apis.values():
        api.close()


def entry(namespace: str) -> dict[str, Any]:
    """An entry that would be changed."""
    metadata = {"name": "new", "namespace": namespace}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": NONE}


@pytest.mark.parametrize("number", range(len(POLICIES)))
def test_the_webhook_is_asked_exactly_where_the_core_enforces(
    cluster: ControlPlane, helm: Helm, apis: dict[str, Api], number: int
) -> None:
    policy = POLICIES[number]
    name = f"here-{number}"
    values = over(DEAD, {"fullnameOverride": name, "policy": policy})
    rendered = failing(helm.template(values, "--show-only=templates/webhook-configurations.yaml"))
    dead = as_text(kind(documents(rendered), VALIDATING))
    enforced = {namespace for namespace in apis if enforces(policy, namespace)}
    assert enforced
    cluster.kubectl("create", "--filename=-", stdin=dead)
    try:
        some = min(enforced)
        wait_until(lambda: was_asked(apis[some].create(entry(some))), "the API server asks", SECONDS)
        assert {each for each, api in apis.items() if was_asked(api.create(entry(each)))} == enforced
    finally:
        cluster.kubectl("delete", "--filename=-", stdin=dead)
        wait_until(lambda: not was_asked(apis[some].create(entry(some))), "the API server asks no more", SECONDS)


def test_a_policy_may_have_hundreds_of_items(cluster: ControlPlane, helm: Helm) -> None:
    items = [{"match": [f"team-{number}"], "mode": "Warn"} for number in range(500)]
    values = over(DEAD, {"fullnameOverride": "here-hundreds", "policy": {"namespaces": items}})
    rendered = helm.template(values, "--show-only=templates/webhook-configurations.yaml")
    assert "enforced-here" in rendered
    cluster.kubectl("create", "--dry-run=server", "--filename=-", stdin=rendered)


def enforces(policy: dict[str, Any], namespace: str) -> bool:
    """Whether the core may reject something in a namespace."""
    document = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy", **policy}
    settings = parse_policy(document).settings(namespace)
    return settings.mode is Mode.ENFORCE and not matches(namespace, settings.scope.excluded_namespaces)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"policy": {"mode": "Warn"}},
        {"policyConfigMap": "other"},
        {"policy": {"namespaces": [{"match": ["team-[ab]"], "mode": "Warn"}]}},
    ],
    ids=["everywhere", "nowhere", "a policy elsewhere", "a glob with brackets"],
)
def test_the_condition_is_left_out_where_it_says_nothing_or_cannot_know(helm: Helm, values: Values) -> None:
    assert "enforced-here" not in helm.template(values)
