"""What is fuzzed: each target has inputs, and says with what outcome it read one; anything unexpected is raised."""

import base64
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from hypothesis import strategies as st
from jsonpatch import JsonPatch

from app.core.cel.admission_policy import Engine, backstop
from app.core.policy.errors import PolicyError
from app.core.policy.reader import parse_policy
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.plan import desired
from app.core.rules.verdict import as_stored, review
from app.kube import config
from app.kube.client import Client
from app.kube.errors import ApiError, ConfigError
from app.kube.resources import EMITTED
from app.kube.watch import Reflector
from app.policyfile import decode_policy
from app.webhook.admission import BadReview, Stage, answer
from tests.builders import IDENTITY, manifest
from tests.cases import TODAY
from tests.command import run
from tests.contract.clients import REVIEW
from tests.fuzz.mutations import as_json, as_yaml, changed, damaged
from tests.strategies import manifests, policies

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}
POLICY: Mapping[str, Any] = {
    **IDENTITY,
    "mode": "Enforce",
    "resolution": {"unfixable": "Deny", "wildcards": "DynamicDNS"},
    "virtualService": {"timeout": "30s", "retries": {"attempts": 3}, "overrides": {"timeout": {"max": "60s"}}},
    "destinationRule": {"enabled": True, "connectionPool": {"http": {"idleTimeout": "50s"}}},
    "exemptions": {"annotation": "Allow", "hosts": ["*.example.com"], "reasonPattern": "^OPS-[0-9]+"},
    "namespaces": [{"match": ["team-*"], "mode": "Warn"}],
}
ITEM = {**manifest(), "metadata": {**manifest()["metadata"], "resourceVersion": "7"}}


@dataclass(frozen=True, slots=True)
class Target:
    """What is read."""

    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], str]


def _review_of(document: Any) -> dict[str, Any]:
    return {**REVIEW, "request": {**REVIEW["request"], "object": document, "oldObject": None}}


def read_review(given: tuple[bytes, Any]) -> str:
    """A review is answered or bad, and what is allowed is what the policy lets in."""
    body, policy = given
    try:
        answers = {stage: json.loads(answer(stage, body, policy).body)["response"] for stage in Stage}
    except BadReview:
        return "bad"
    request = json.loads(body.decode(errors="replace"))["request"]  # a field that nothing reads need not be UTF-8
    kind = (request["kind"].get("group"), request["kind"].get("kind"))
    if (
        request["operation"] != "CREATE"
        or kind != ("networking.istio.io", "ServiceEntry")
        or request.get("subResource")
    ):
        return "not reviewed"
    namespace = request.get("namespace") or "default"
    verdict = review(ServiceEntry.parse(request["object"], namespace, policy.today), policy)
    mutated, validated = answers[Stage.MUTATE], answers[Stage.VALIDATE]
    assert mutated["allowed"] is verdict.allowed
    assert validated["allowed"] is as_stored(verdict).allowed
    if "patch" in mutated:
        patched = JsonPatch(json.loads(base64.b64decode(mutated["patch"]))).apply(request["object"])
        again = review(ServiceEntry.parse(patched, namespace, policy.today), policy)
        assert as_stored(again).allowed
    return "allowed" if mutated["allowed"] else "rejected"


def read_policy(content: bytes) -> str:
    """A policy is an error or a policy that every rule can work with."""
    try:
        policy = decode_policy(content, "policy.yaml").on(TODAY)
    except PolicyError as error:
        return _explained(error, "rejected")
    entry = ServiceEntry.parse(manifest(resolution="NONE"))
    review(entry, policy)
    desired([entry], policy)
    for engine in Engine:
        backstop(policy, engine)
    return "taken"


def read_manifests(content: bytes) -> str:
    """Files are reviewed, or refused with an explanation."""
    done = run("review", "-", "--output", "json", stdin=content)
    assert done.exit_code in {0, 1, 2}
    return f"exit code {done.exit_code}"


def read_kubeconfig(content: bytes) -> str:
    """A kubeconfig is one, or an error of one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        path.write_bytes(content)
        try:
            config.load(str(path), 1)
        except ConfigError as error:
            return _explained(error, "rejected")
    return "taken"


class Stub:
    """A session with an API server that answers the same a few times, and then that it is too late: lists have ends."""

    host = "https://stub"

    def __init__(self, status: int, content: bytes) -> None:
        self._status = status
        self._content = content
        self._left = 10

    def send(  # the parts of an HTTP request
        self,
        _method: str,
        _target: str,
        *,
        headers: Mapping[str, str],  # noqa: ARG002 - the same answer for all
        body: Iterable[bytes] | None,
        timeout: float,  # noqa: ARG002 - it answers at once
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """Answer."""
        list(body or ())
        self._left -= 1
        if self._left < 0:
            return urllib3.HTTPResponse(io.BytesIO(b"{}"), status=410)
        return urllib3.HTTPResponse(io.BytesIO(self._content), status=self._status, preload_content=not stream)

    def renew(self) -> bool:
        """Return False: there are no credentials."""
        return False


def read_answer(given: tuple[int, bytes]) -> str:
    """An answer of an API server, or of a proxy before it, is read or an ApiError; a reflector goes on."""
    resource = EMITTED["VirtualService"]
    client = Client(Stub(*given))  # type: ignore[arg-type]  # it has a session's methods
    said = "read"
    for call in (
        lambda: client.get(resource, "team", "api"),
        lambda: client.list_page(resource),
        lambda: list(client.watch(resource, "1", timeout_seconds=1)),
    ):
        try:
            call()
        except ApiError as error:
            said = _explained(error, type(error).__name__)
    reflector = Reflector(client, resource, ServiceEntry.parse, lambda _key, _old, _new: None)
    assert reflector.step() >= 0
    return said


def _explained(error: Exception, outcome: str) -> str:
    assert str(error), "an error without a message"
    return outcome


identity = st.just(dict(POLICY))
lists = st.builds(
    lambda items: {"kind": "List", "metadata": {"resourceVersion": "9", "continue": ""}, "items": items},
    st.lists(st.just(ITEM), max_size=2),
)
errors = st.just({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
events = st.builds(lambda type_: {"type": type_, "object": ITEM}, st.sampled_from(["ADDED", "BOOKMARK", "ERROR"]))
reviews = st.builds(_review_of, manifests())
policy_documents = st.one_of(identity, identity, st.just(dict(IDENTITY)))
TARGETS: Mapping[str, Target] = {
    "reviews": Target(st.tuples(damaged(changed(reviews).map(as_json)), policies()), read_review),
    "policies": Target(damaged(changed(policy_documents).map(as_yaml)), read_policy),
    "manifests": Target(
        damaged(st.lists(changed(manifests()).map(as_yaml), max_size=3).map(b"---\n".join)), read_manifests
    ),
    "kubeconfigs": Target(damaged(changed(st.just(KUBECONFIG)).map(as_yaml)), read_kubeconfig),
    "answers": Target(
        st.tuples(
            st.sampled_from([200, 200, 200, 404, 410, 429, 500]),
            damaged(changed(st.one_of(lists, events, errors)).map(as_json)),
        ),
        read_answer,
    ),
}
parse_policy(dict(POLICY))  # it is valid, or nothing near it would be
