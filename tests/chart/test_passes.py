"""While every webhook pod is down, what the validating webhook could only let in passes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.core.cel.variables import TOUCHED
from app.core.policy.model import default_policy
from app.core.resources.service_entry import ServiceEntry
from app.core.rules.verdict import as_stored, review, review_update
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.cases import CASES, Case
from tests.chart.helm import Helm, kind
from tests.chart.test_match_conditions import Api, Manifest, failing, was_asked
from tests.chart.value_sets import Values, over
from tests.documents import as_text, documents
from tests.e2e.team import SECONDS

pytestmark = pytest.mark.e2e

NAMESPACE = "passes"
TODAY = "2026-11-28"
DEAD: Values = {
    "fullnameOverride": "passes",
    "webhook": {"url": "https://127.0.0.1:1"},
    "certificates": {"mode": "provided"},
    "admission": {"namespaceSelector": {"matchLabels": {"passes": "yes"}}, "skipCompliant": False},
}
VALIDATING = "ValidatingWebhookConfiguration"
HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
TCP = {"number": 5432, "name": "tcp", "protocol": "TCP"}
RAW: Manifest = {"hosts": ["api.example.com"], "ports": [HTTP], "location": "MESH_EXTERNAL", "resolution": "NONE"}


def entry(annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """An entry that would be changed, but for what is given."""
    metadata = {"name": "raw", "namespace": NAMESPACE, "annotations": annotations or {}, "labels": labels or {}}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": metadata,
        "spec": {**RAW, **spec},
    }


@pytest.fixture(scope="module")
def api(cluster: ControlPlane, helm: Helm) -> Iterator[Api]:
    """Dry runs in a namespace whose validating webhook is dead; the entry `raw` is stored there."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("create", "--filename=-", stdin=json.dumps(entry()))
    rendered = failing(helm.template(DEAD, "--show-only=templates/webhook-configurations.yaml"))
    dead = as_text(kind(documents(rendered), VALIDATING))
    cluster.kubectl("create", "--filename=-", stdin=dead)
    cluster.kubectl("label", "namespace", NAMESPACE, "passes=yes")
    api = Api(cluster, NAMESPACE)
    wait_until(lambda: was_asked(api.create(named(entry()))), "the API server asks", SECONDS)
    yield api
    api.close()
    cluster.kubectl("delete", "--filename=-", stdin=dead)


def named(manifest: Manifest, name: str = "new") -> Manifest:
    """The same under another name."""
    return {**manifest, "metadata": {**manifest["metadata"], "name": name}}


ANNOTATED = {"serviceentry-guard.io/attempts": "1"}


@pytest.mark.parametrize(
    ("manifest", "passes"),
    [
        (entry(location="MESH_INTERNAL"), True),
        (entry(resolution="STATIC", endpoints=[{"address": "192.0.2.1"}]), True),
        (entry(resolution="STATIC", workloadSelector={"labels": {"app": "a"}}), True),
        (entry(ports=[TCP]), True),
        (entry(), False),
        (entry(resolution="STATIC"), False),
        (entry(ports=[TCP, HTTP]), False),
        (entry(ANNOTATED, ports=[TCP]), False),
    ],
)
def test_a_create_passes_only_if_nothing_could_be_rejected(api: Api, manifest: Manifest, passes: bool) -> None:
    answer = api.create(named(manifest))
    assert was_asked(answer) is not passes, answer
    if passes:
        assert as_stored(review(ServiceEntry.parse(named(manifest)), default_policy())).allowed


@pytest.mark.parametrize(
    ("manifest", "passes"),
    [
        (entry(labels={"team": "a"}), True),
        (entry({"example.com/note": "b"}), True),
        (entry(ANNOTATED), False),
        (entry(hosts=["other.example.com"]), False),
    ],
)
def test_an_update_of_neither_spec_nor_our_annotations_passes(api: Api, manifest: Manifest, passes: bool) -> None:
    version = api.get("raw")["metadata"]["resourceVersion"]
    answer = api.replace({**manifest, "metadata": {**manifest["metadata"], "resourceVersion": version}})
    assert was_asked(answer) is not passes, answer
    assert (answer[0] == 200) is passes
    verdict = review_update(ServiceEntry.parse(manifest), entry(), manifest, default_policy())
    assert not passes or as_stored(verdict).allowed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_core_lets_in_every_case_that_passes(api: Api, case: Case) -> None:
    status, stored = api.create(case.manifest(NAMESPACE))
    if status == 201:
        policy = default_policy().on(TODAY)
        assert as_stored(review(ServiceEntry.parse(stored, written=policy.today), policy)).allowed


@pytest.mark.parametrize(
    ("policy", "manifest"),
    [
        ({"scope": {"locations": ["MESH_EXTERNAL", "MESH_INTERNAL"]}}, entry(location="MESH_INTERNAL")),
        ({"namespaces": [{"match": ["a"], "resolution": {"static": "Deny"}}]}, entry(resolution="STATIC")),
        ({"resolution": {"tcp": "DNS"}}, entry(ports=[TCP])),
    ],
)
def test_an_entry_that_the_policy_of_any_namespace_covers_does_not_pass(
    helm: Helm, policy: Values, manifest: Manifest
) -> None:
    def conditions(values: Values) -> str:
        return str(kind(helm.objects(values), VALIDATING)["webhooks"][0]["matchConditions"])

    assert conditions({}) != conditions({"policy": policy})
    assert manifest["spec"]
    for values in ({"policyConfigMap": "other"}, {"policy": {"exportTo": {"require": "Warn"}}}):
        assert "looked-at" not in conditions(over(values))
        assert "touches-spec-or-our-annotations" in conditions(over(values))


def test_an_update_is_touched_as_the_backstop_has_it(helm: Helm) -> None:
    found = kind(helm.objects({}), VALIDATING)["webhooks"][0]["matchConditions"]
    (condition,) = [one["expression"] for one in found if one["name"] == "touches-spec-or-our-annotations"]
    assert " ".join(condition.split()) == " ".join(TOUCHED.split())
