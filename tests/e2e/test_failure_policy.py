"""Writes are refused for a webhook that does not answer only once it has answered, under a policy that enforces."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import yaml

from app.certificates.failure_policy import FailurePolicy, Wanted
from app.kube.client import Client, Object
from app.kube.resources import CONFIGURATIONS, VALIDATING, Resource
from app.policyfile import PolicyFile
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import HOST, Webhook
from tests.bed.ports import free_port

pytestmark = pytest.mark.e2e
NUMBERS = count(1)
RULE = {
    "apiGroups": ["networking.istio.io"],
    "apiVersions": ["*"],
    "operations": ["CREATE"],
    "resources": ["serviceentries"],
}


@dataclass
class Configured:
    """Both webhook configurations as the chart installs them, for a namespace that nobody uses; and a policy file."""

    client: Client
    name: str
    policy: Path
    url: str
    authority: bytes

    def create(self) -> None:
        """Create both."""
        for resource in CONFIGURATIONS:
            self.client.create(resource, self.manifest(resource))

    def manifest(self, resource: Resource, failure: str = "Ignore") -> Object:
        """One of them."""
        webhook = {
            "name": "check.serviceentry-guard.io",
            "clientConfig": {"url": self.url, "caBundle": base64.b64encode(self.authority).decode()},
            "rules": [RULE],
            "failurePolicy": failure,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.name}},
        }
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        return {**kind, "metadata": {"name": self.name}, "webhooks": [webhook]}

    def found(self) -> list[str]:
        """The failure policies of both."""
        return [self.client.get(each, None, self.name)["webhooks"][0]["failurePolicy"] for each in CONFIGURATIONS]

    def say(self, mode: str, **namespaces: str) -> None:
        """Write the policy."""
        layers = [{"match": [name], "mode": each} for name, each in namespaces.items()]
        head = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy"}
        self.policy.write_text(yaml.safe_dump({**head, "mode": mode, "namespaces": layers}))

    def check(self, mutating: str = "Ignore", validating: str = "Fail") -> list[str]:
        """One pass of a controller that has just begun; the failure policies after it."""
        follower = PolicyFile(self.policy, lambda _: None)
        FailurePolicy(self.client, follower, Wanted(self.name, mutating, validating)).check()
        return self.found()


@pytest.fixture
def webhook(tmp_path: Path) -> Iterator[Webhook]:
    """A webhook that answers."""
    with Webhook(tmp_path) as webhook:
        yield webhook


def configured(client: Client, folder: Path, url: str, authority: bytes) -> Configured:
    made = Configured(client, f"failing-{next(NUMBERS)}", folder / "policy.yaml", url, authority)
    made.create()
    made.say("Enforce")
    return made


def test_a_webhook_that_answers_may_refuse_once_the_policy_enforces(
    api: Client, webhook: Webhook, tmp_path: Path
) -> None:
    place = configured(api, tmp_path, f"https://{HOST}:{webhook.port}/validate", webhook.authority.certificate)
    for mode in ("Off", "Warn"):
        place.say(mode)
        assert place.check() == ["Ignore", "Ignore"]
    place.say("Warn", payments="Enforce")
    assert place.check() == ["Ignore", "Fail"]
    webhook.child.kill()
    assert place.check() == ["Ignore", "Fail"], "what Fail is for"
    assert place.check(mutating="Fail") == ["Ignore", "Fail"], "the mutating webhook has not answered"
    place.say("Warn")
    assert place.check() == ["Ignore", "Ignore"]


def test_a_webhook_that_never_answered_refuses_nothing(api: Client, webhook: Webhook, tmp_path: Path) -> None:
    nobody = configured(api, tmp_path, f"https://{HOST}:{free_port()}/validate", webhook.authority.certificate)
    assert nobody.check() == ["Ignore", "Ignore"]
    without = configured(api, tmp_path, f"https://{HOST}:{webhook.port}/validate", b"")
    assert without.check() == ["Ignore", "Ignore"], "the API server would not trust it"


def test_ignore_stays_where_the_values_ask_for_it(api: Client, webhook: Webhook, tmp_path: Path) -> None:
    place = configured(api, tmp_path, f"https://{HOST}:{webhook.port}/validate", webhook.authority.certificate)
    assert place.check(validating="Ignore") == ["Ignore", "Ignore"]
    assert place.check(mutating="Fail") == ["Fail", "Fail"]


def test_a_manager_that_leaves_the_field_out_sees_no_conflict_and_no_change(
    api: Client, control_plane: ControlPlane, webhook: Webhook, tmp_path: Path
) -> None:
    """As Argo CD does with RespectIgnoreDifferences: it applies server-side what is live where it is told to ignore."""
    place = configured(api, tmp_path, f"https://{HOST}:{webhook.port}/validate", webhook.authority.certificate)
    rendered = place.manifest(VALIDATING)
    apply = ["apply", "--server-side", "--field-manager=gitops", "--filename=-"]
    control_plane.kubectl(*apply, "--force-conflicts", stdin=yaml.safe_dump(rendered))
    assert place.check() == ["Ignore", "Fail"]

    rendered["webhooks"][0]["failurePolicy"] = place.found()[1]
    again = control_plane.kubectl(*apply, stdin=yaml.safe_dump(rendered), check=False)
    assert again.returncode == 0, again.stderr
    assert place.found() == ["Ignore", "Fail"]

    control_plane.kubectl(*apply, "--force-conflicts", stdin=yaml.safe_dump(place.manifest(VALIDATING)))
    assert place.found() == ["Ignore", "Ignore"], "a tool that insists"
    assert place.check() == ["Ignore", "Fail"], "has it set again by the next pass"
