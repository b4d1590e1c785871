"""The match conditions for the policy of each case: what passes while every webhook pod is down, the core lets in."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.core.policy.reader import parse_policy
from app.core.resources.service_entry import ServiceEntry
from app.core.rules.verdict import as_stored, review
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.cases import CASES, TODAY, Case
from tests.chart.helm import Helm, kind
from tests.chart.test_match_conditions import NONE, Api, failing, was_asked
from tests.chart.value_sets import Values
from tests.documents import as_stream, documents
from tests.e2e.team import SECONDS

pytestmark = pytest.mark.e2e

IDENTITY = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy"}
SECTIONS = ("mode", "scope", "hosts", "exportTo", "resolution")
"""The parts of a policy that the conditions take in."""


def part(policy: dict[str, Any]) -> dict[str, Any]:
    """The sections of a policy that the conditions take in."""
    items = [
        {name: item[name] for name in ("match", *SECTIONS) if name in item} for item in policy.get("namespaces", [])
    ]
    found = {name: policy[name] for name in SECTIONS if name in policy}
    return {**found, **({"namespaces": items} if items else {})}


PARTS = sorted({json.dumps(part(case.policy), sort_keys=True) for case in CASES})
"""Each has a namespace, and webhooks that do not answer."""


def namespace(case: Case) -> str:
    """The namespace whose webhooks have the conditions of the policy of a case."""
    return f"own-{PARTS.index(json.dumps(part(case.policy), sort_keys=True))}"


def values(number: int) -> Values:
    """Values of the chart with dead webhooks, for the namespace with this number."""
    return {
        "fullnameOverride": f"own-{number}",
        "webhook": {"url": "https://127.0.0.1:1"},
        "certificates": {"mode": "provided"},
        "admission": {"namespaceSelector": {"matchLabels": {"own": str(number)}}},
        "policy": json.loads(PARTS[number]),
    }


@pytest.fixture(scope="module")
def apis(cluster: ControlPlane, helm: Helm) -> Iterator[dict[str, Api]]:
    """Dry runs in all of these namespaces."""
    only = "--show-only=templates/webhook-configurations.yaml"
    rendered = [failing(helm.template(values(number), only)) for number in range(len(PARTS))]
    dead = [kind(documents(text), "ValidatingWebhookConfiguration") for text in rendered]
    labels = {f"own-{number}": {"own": str(number)} for number in range(len(PARTS))}
    labelled = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": own}}
        for name, own in labels.items()
    ]
    cluster.kubectl("create", "--filename=-", stdin=as_stream(labelled))
    webhooks = as_stream(dead)
    cluster.kubectl("create", "--filename=-", stdin=webhooks)
    apis = {name: Api(cluster, name) for name in labels}
    enforced = [name for name in apis if enforces(name)]
    wait_until(lambda: all(was_asked(apis[name].create(raw(name))) for name in enforced), "it asks everywhere", SECONDS)
    yield apis
    for api in apis.values():
        api.close()
    cluster.kubectl("delete", "--filename=-", stdin=webhooks)


def raw(name: str) -> dict[str, Any]:
    """An entry that every policy that enforces changes."""
    metadata = {"name": "raw", "namespace": name}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": NONE}


def enforces(name: str) -> bool:
    """Whether the core would reject the raw entry without a mutation in this namespace."""
    policy = parse_policy({**IDENTITY, **json.loads(PARTS[int(name.removeprefix("own-"))])}).on(TODAY)
    return not as_stored(review(ServiceEntry.parse(raw(name)), policy)).allowed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_passes_under_the_policy_of_a_case_is_let_in_by_the_core(apis: dict[str, Api], case: Case) -> None:
    status, stored = apis[namespace(case)].create(case.manifest(namespace(case)))
    if status == 201:
        policy = case.in_force()
        assert as_stored(review(ServiceEntry.parse(stored, written=policy.today), policy)).allowed


def test_some_cases_pass_and_some_do_not(apis: dict[str, Api]) -> None:
    asked = [was_asked(apis[namespace(case)].create(case.manifest(namespace(case)))) for case in CASES]
    assert {True, False} == set(asked)
