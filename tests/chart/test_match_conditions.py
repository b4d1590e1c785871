"""What `matchConditions` keep from the webhooks is what the core has nothing to say about: real CEL, and the real core.

The webhooks of these configurations do not answer, and fail closed: what the API server takes, it did not ask about.
"""

import json
from collections.abc import Iterator
from http.client import HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.policy.model import GuardPolicy, default_policy
from app.core.policy.reader import parse_policy
from app.core.resources.service_entry import PREFIX, ServiceEntry
from app.core.rules.bypasses import RESERVED_NAMESPACES
from app.core.rules.verdict import as_stored, review, review_update
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.cases import CASES, TODAY, Case
from tests.chart.helm import Helm
from tests.chart.value_sets import Values, over
from tests.depth import examples
from tests.e2e.definitions import require_words
from tests.e2e.team import SECONDS
from tests.strategies import manifests, policies

pytestmark = pytest.mark.e2e

NAMESPACE = "conditions"
LABELS = {"match": "conditions"}
DEAD: Values = {
    "fullnameOverride": "dead",
    "webhook": {"url": "https://127.0.0.1:1"},
    "certificates": {"mode": "provided"},
    "admission": {"mutating": {"failurePolicy": "Fail"}, "namespaceSelector": {"matchLabels": LABELS}},
}
TENANCY = {"hosts", "exportTo"}
"""Parts of a policy that the condition takes in; those of the cases are not in the condition that is tried here."""
POLICIES = [default_policy().on(TODAY), *(case.in_force() for case in CASES if not TENANCY & case.policy.keys())]
OWNED = "owned"
OWNERS: Values = {
    "fullnameOverride": "dead-owned",
    "admission": {"namespaceSelector": {"matchLabels": {"match": OWNED}}},
    "policy": {
        "hosts": {"owners": [{"match": ["*.payments.example", "pay.example"], "namespaces": ["payments"]}]},
        "namespaces": [
            {"match": ["x"], "hosts": {"owners": [{"match": ["*x.example"], "namespaces": ["x"]}]}},
            {"match": ["z"], "exportTo": {"require": "Warn"}},
        ],
    },
}
"""A policy of which the condition takes in hosts with owners, and who sees an entry."""
HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
PLAIN: dict[str, Any] = {"hosts": ["api.example.com"], "ports": [HTTP], "resolution": "DNS"}
NONE = {**PLAIN, "resolution": "NONE"}
IDENTITY = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy"}
Manifest = dict[str, Any]


class Api:
    """Dry runs on one connection, as administrator: status and document."""

    def __init__(self, cluster: ControlPlane, namespace: str = NAMESPACE) -> None:
        self._namespace = namespace
        self._connection = HTTPSConnection(urlsplit(cluster.url).netloc, timeout=30, context=cluster.tls())

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def create(self, manifest: Manifest) -> tuple[int, Manifest]:
        """Try to create an entry."""
        return self._send("POST", "", manifest)

    def replace(self, manifest: Manifest) -> tuple[int, Manifest]:
        """Try to put another entry in the place of the stored one."""
        return self._send("PUT", f"/{manifest['metadata']['name']}", manifest)

    def get(self, name: str) -> Manifest:
        """A stored entry."""
        return self._send("GET", f"/{name}", None)[1]

    def _send(self, method: str, place: str, manifest: Manifest | None) -> tuple[int, Manifest]:
        path = f"/apis/networking.istio.io/v1/namespaces/{self._namespace}/serviceentries{place}"
        query = "?dryRun=All" if manifest else ""
        body = json.dumps(manifest) if manifest else None
        self._connection.request(method, path + query, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


def entry(spec: Any = None, annotations: dict[str, str] | None = None, name: str = "new") -> Manifest:
    """A manifest in the namespace of these tests."""
    metadata = {"name": name, "namespace": NAMESPACE, "annotations": annotations or {}}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": spec or PLAIN}


def failing(rendered: str) -> str:
    """Configurations as the controller has set them: every call that fails is refused."""
    return rendered.replace("failurePolicy: Ignore", "failurePolicy: Fail")


def was_asked(answer: tuple[int, Manifest]) -> bool:
    """Whether the API server wanted to ask a webhook."""
    return answer[0] == 500 and "failed calling webhook" in answer[1]["message"]


def expect_silence(stored: Manifest, old: Manifest | None, policy: GuardPolicy) -> None:
    """The core neither refuses, changes nor warns about what is about to be stored."""
    judged = ServiceEntry.parse(stored, written=policy.today)
    verdicts = [review(judged, policy), *([review_update(judged, old, stored, policy)] if old else [])]
    for verdict in (*verdicts, *map(as_stored, verdicts)):
        assert verdict.allowed
        assert not verdict.patch
        assert not verdict.warnings


@pytest.fixture(scope="module")
def api(cluster: ControlPlane, helm: Helm) -> Iterator[Api]:
    """Dry runs in a namespace whose webhooks are dead, with two entries stored there before: `none` and `dns`."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    for manifest in (entry(NONE, {f"{PREFIX}attempts": "99"}, "none"), entry(PLAIN, name="dns")):
        cluster.kubectl("create", "--filename=-", stdin=json.dumps(manifest))
    rendered = failing(helm.template(DEAD, "--show-only=templates/webhook-configurations.yaml"))
    cluster.kubectl("create", "--filename=-", stdin=rendered)
    cluster.kubectl("label", "namespace", NAMESPACE, *(f"{key}={value}" for key, value in LABELS.items()))
    api = Api(cluster)
    wait_until(lambda: was_asked(api.create(entry(NONE))), "the API server asks", SECONDS)
    yield api
    api.close()
    cluster.kubectl("delete", "--filename=-", stdin=rendered)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_policy_says_anything_about_a_case_that_is_skipped(api: Api, case: Case) -> None:
    status, stored = api.create(case.manifest(NAMESPACE))
    if status == 201:
        for policy in POLICIES:
            expect_silence(stored, None, policy)


dns = st.sampled_from(["DNS", "DNS", "DYNAMIC_DNS", "DNS_ROUND_ROBIN"])


@st.composite
def nearly_compliant(draw: st.DrawFn) -> Manifest:
    """A manifest of any shape that a skip may be tempted by."""
    manifest = draw(manifests())
    manifest["spec"]["resolution"] = draw(dns)
    if draw(st.booleans()):
        manifest["metadata"]["annotations"] = draw(st.sampled_from([{}, {"example.com/a": "b"}]))
    if draw(st.booleans()):
        suffix = draw(st.sampled_from([".svc", ".SVC.cluster.local", ".svc.clusterset.local.", ".svcs.example.com"]))
        manifest["spec"]["hosts"].append(f"a.b{suffix}")
    return manifest


@given(manifest=st.one_of(manifests(), nearly_compliant(), nearly_compliant()), policy=policies(), update=st.booleans())
@settings(max_examples=examples(800))
def test_no_policy_has_a_finding_on_an_entry_that_is_skipped(
    api: Api, manifest: Manifest, policy: GuardPolicy, update: bool
) -> None:
    old = api.get("none" if manifest["spec"].get("resolution") else "dns") if update else None
    identity = old["metadata"] if old else {"name": "new"}
    written = {"namespace": NAMESPACE, "name": identity["name"], "annotations": manifest["metadata"]["annotations"]}
    if old:
        written |= {"resourceVersion": identity["resourceVersion"]}
    status, stored = (api.replace if old else api.create)({**manifest, "metadata": written})
    if status in {200, 201}:
        expect_silence(stored, old, policy)


@pytest.mark.parametrize(
    "skipped",
    [
        entry(),
        entry({**PLAIN, "resolution": "DYNAMIC_DNS"}),
        entry(annotations={"example.com/team": "mine"}),
        entry({**PLAIN, "hosts": ["API.example.com.", "b.example.com"], "location": "MESH_INTERNAL"}),
        entry({**PLAIN, "endpoints": [{"address": "backup.example.com"}], "exportTo": ["."]}),
    ],
    ids=range(5),
)
def test_a_compliant_entry_is_stored_while_no_webhook_answers(
    api: Api, cluster: ControlPlane, skipped: Manifest
) -> None:
    require_words(cluster, skipped)
    assert api.create(skipped)[0] == 201


@pytest.mark.parametrize("name", ["none", "dns"])
def test_an_update_to_a_compliant_entry_is_stored_while_no_webhook_answers(api: Api, name: str) -> None:
    stored = api.get(name)
    stored["metadata"]["annotations"] = {}
    assert api.replace({**stored, "spec": PLAIN})[0] == 200


@pytest.mark.parametrize(
    "asked",
    [
        entry(NONE),
        entry({**PLAIN, "resolution": "DNS_ROUND_ROBIN"}),
        entry({**PLAIN, "hosts": ["api.example.com", "*.example.com"], "endpoints": [{"address": "a.example.com"}]}),
        entry({**PLAIN, "hosts": ["reviews.default.svc.cluster.local"]}),
        *(entry({**PLAIN, "hosts": [f"Reviews.{name}"]}) for name in sorted(RESERVED_NAMESPACES)),
        entry({**PLAIN, "hosts": ["api.example.com", "reviews.kube-system."]}),
        entry({**PLAIN, "hosts": ["REVIEWS.default.SVC"]}),
        entry(annotations={f"{PREFIX}attempts": "3"}),
        entry(annotations={f"{PREFIX}typo": "x"}),
        entry(annotations={f"{PREFIX}exempt": ""}),
        entry({"hosts": ["api.example.com"], "ports": [HTTP]}),
    ],
    ids=range(15),
)
def test_the_api_server_calls_the_webhook_for_entries_that_may_have_findings(api: Api, asked: Manifest) -> None:
    assert was_asked(api.create(asked))
    metadata = {**api.get("dns")["metadata"], "annotations": asked["metadata"]["annotations"]}
    assert was_asked(api.replace({**asked, "metadata": metadata}))


@pytest.mark.parametrize(
    "malformed",
    [
        {**PLAIN, "hosts": []},
        {**PLAIN, "hosts": "api.example.com"},
        {**PLAIN, "hosts": [5]},
        {**PLAIN, "hosts": None},
        {**PLAIN, "resolution": None},
        {**PLAIN, "resolution": 5},
        {**PLAIN, "resolution": ["DNS"]},
        {**PLAIN, "ports": "http"},
        {"hosts": ["api.example.com"], "resolution": {"DNS": "DNS"}},
        "DNS",
        ["DNS"],
    ],
    ids=range(11),
)
def test_a_malformed_entry_is_never_skipped(api: Api, malformed: Any) -> None:
    assert api.create({**entry(), "spec": malformed})[0] >= 400


def test_without_the_value_everything_is_asked_about(helm: Helm) -> None:
    assert "not-yet-compliant" not in helm.template(over(DEAD, {"admission": {"skipCompliant": False}}))


@pytest.fixture(scope="module")
def owned(cluster: ControlPlane, helm: Helm) -> Iterator[Api]:
    """Dry runs in a namespace whose webhooks are dead, as the chart has them for a policy with owners."""
    cluster.kubectl("create", "namespace", OWNED)
    rendered = failing(helm.template(over(DEAD, OWNERS), "--show-only=templates/webhook-configurations.yaml"))
    cluster.kubectl("create", "--filename=-", stdin=rendered)
    cluster.kubectl("label", "namespace", OWNED, f"match={OWNED}")
    api = Api(cluster, OWNED)
    wait_until(lambda: was_asked(api.create(moved(NONE))), "the API server asks", SECONDS)
    yield api
    api.close()
    cluster.kubectl("delete", "--filename=-", stdin=rendered)


def moved(spec: Any) -> Manifest:
    """An entry in the namespace of these webhooks."""
    return {**entry(spec), "metadata": {"name": "new", "namespace": OWNED}}


PRIVATE = {**PLAIN, "exportTo": ["."]}


@pytest.mark.parametrize(
    ("spec", "asked"),
    [
        (PRIVATE, False),
        ({**PRIVATE, "hosts": ["payments.example", "xpay.example.com", "y.example"]}, False),
        ({**PRIVATE, "hosts": ["api.example.com", "A.Payments.example"]}, True),
        ({**PRIVATE, "hosts": ["a.payments.example."]}, True),
        ({**PRIVATE, "hosts": ["PAY.example."]}, True),
        ({**PRIVATE, "hosts": ["yx.example"]}, True),
        (PLAIN, True),
        ({**PLAIN, "exportTo": []}, True),
        ({**PLAIN, "exportTo": [".", "*"]}, True),
        ({**PLAIN, "exportTo": ["a", "b"]}, False),
    ],
)
def test_a_host_with_an_owner_and_an_entry_that_every_namespace_sees_are_asked_about(
    owned: Api, spec: Any, asked: bool
) -> None:
    assert was_asked(owned.create(moved(spec))) is asked


@given(manifest=st.one_of(manifests(), nearly_compliant()))
@settings(max_examples=examples(400))
def test_the_policy_of_a_condition_has_no_finding_on_skipped_entries(owned: Api, manifest: Manifest) -> None:
    policy = parse_policy({**IDENTITY, **OWNERS["policy"]}).on(TODAY)
    written = {"namespace": OWNED, "name": "new", "annotations": manifest["metadata"]["annotations"]}
    status, stored = owned.create({**manifest, "metadata": written})
    if status == 201:
        expect_silence(stored, None, policy)


@pytest.mark.parametrize(
    "values",
    [
        {"policyConfigMap": "our-policy"},
        {"policy": {"hosts": {"owners": [{"match": [f"h{n}.example" for n in range(101)], "namespaces": ["a"]}]}}},
    ],
    ids=["a policy elsewhere", "very many hosts"],
)
def test_everything_is_asked_about_where_the_condition_cannot_know_or_compare_the_hosts(
    helm: Helm, values: Values
) -> None:
    assert "not-yet-compliant" not in helm.template(over(DEAD, values))
