"""The AdmissionReview codec (admission.k8s.io/v1): bytes in, bytes out, no transport.

A response contains only data of the request and of the policy.
"""

import base64
import enum
from typing import Any

import msgspec

from app.core.policy.model import GuardPolicy
from app.core.resources.fields import JSON
from app.core.resources.service_entry import GROUP, ServiceEntry
from app.core.rules.kept_resolutions import Standing
from app.core.rules.siblings import beside
from app.core.rules.verdict import Verdict, as_stored, review, review_update

ADMISSION_VERSION = "admission.k8s.io/v1"
LONGEST_UID = 64
DEPTH_LIMIT = 64
"""Deepest nesting of an object; a ServiceEntry with its managedFields needs about a dozen levels."""
VALUES_LIMIT = 200_000
"""Maximum number of commas in a body, and so about that of values.

An entry with 4,096 endpoints has 40,000 in each version. A body of 7 MiB can have 3.5 million values, which took ten
seconds and 370 MiB.
"""


class Stage(enum.Enum):
    """The webhook that is called: mutating or validating."""

    MUTATE = "mutate"
    VALIDATE = "validate"


class BadReview(ValueError):
    """A body that is not a valid AdmissionReview; the message is the reason."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Answer(msgspec.Struct, frozen=True):
    """An encoded AdmissionReview response, and the fields of its log line."""

    body: bytes
    uid: str
    operation: str
    namespace: str
    name: str
    user: str
    allowed: bool
    patched: bool
    codes: tuple[str, ...]
    entry_uid: str
    """UID of the object; at the mutation of a create, it does not exist yet."""


class _Kind(msgspec.Struct, frozen=True):
    group: str = ""
    kind: str = ""


class _User(msgspec.Struct, frozen=True):
    username: str = ""


class _Request(msgspec.Struct, frozen=True, rename="camel"):
    uid: str
    operation: str
    kind: _Kind
    name: str = ""
    namespace: str = ""
    sub_resource: str = ""
    user_info: _User = _User()
    object: Any = None
    old_object: Any = None


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    request: _Request


NO_SIBLINGS: Standing = {}
_CONTAINERS = (dict, list)
_NO_OPENING = bytes(set(range(256)) - {*b"{["})
_decoder = msgspec.json.Decoder(_Review)
_encoder = msgspec.json.Encoder()


def answer(stage: Stage, body: bytes | bytearray, policy: GuardPolicy, siblings: Standing = NO_SIBLINGS) -> Answer:
    """Answer one AdmissionReview; raises BadReview if the body is not valid.

    `siblings` are the stored entries that keep their resolution.
    """
    request = _decode(body)
    verdict, remark = _judge(stage, request, policy, siblings)
    allowed, codes = verdict.allowed, verdict.codes
    response = _response(request.uid, verdict, allowed, codes, remark)
    return Answer(
        body=_encoder.encode(response),
        uid=request.uid,
        operation=request.operation,
        namespace=request.namespace,
        name=request.name,
        user=request.user_info.username,
        allowed=allowed,
        patched=bool(verdict.patch),
        codes=codes,
        entry_uid=_uid(request.object),
    )


def _decode(body: bytes | bytearray) -> _Request:
    if body.count(b",") > VALUES_LIMIT:
        raise BadReview(f"the body has more than {VALUES_LIMIT} values", 413)
    try:
        review_ = _decoder.decode(body)
    except RecursionError:
        raise BadReview(f"the body is nested deeper than {DEPTH_LIMIT} levels") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadReview(f"the body is not a valid {ADMISSION_VERSION} AdmissionReview: {error}") from None
    if (review_.api_version, review_.kind) != (ADMISSION_VERSION, "AdmissionReview"):
        raise BadReview(f"the body is not an AdmissionReview of {ADMISSION_VERSION}, the only supported version")
    request = review_.request
    if _may_be_deep(body) and not (_shallow(request.object) and _shallow(request.old_object)):
        raise BadReview(f"the object is nested deeper than {DEPTH_LIMIT} levels")
    return request


def _may_be_deep(body: bytes | bytearray) -> bool:
    """Say whether a body has enough brackets to exceed the depth limit; most have not, and need no closer look.

    Of objects and lists inside each other, only the innermost can be empty. So `{}` does not count: `managedFields`
    consist of it.
    """
    opened = len(body.translate(None, _NO_OPENING))
    return opened >= DEPTH_LIMIT and opened - body.count(b"{}") >= DEPTH_LIMIT


def _shallow(value: JSON) -> bool:
    """Say whether a value keeps to the depth limit, level by level: no recursion to exhaust."""
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(DEPTH_LIMIT):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, _CONTAINERS)
        ]
        if not level:
            return True
    return False


def _uid(manifest: Any) -> str:  # noqa: ANN401 - whatever was sent
    metadata = manifest.get("metadata") if isinstance(manifest, dict) else None
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    return uid[:LONGEST_UID] if isinstance(uid, str) else ""


def _judge(stage: Stage, request: _Request, policy: GuardPolicy, siblings: Standing) -> tuple[Verdict, str]:
    if (request.kind.group, request.kind.kind) != (GROUP, "ServiceEntry"):
        return (
            Verdict(),
            "serviceentry-guard reviews only ServiceEntries: narrow the rules of its webhook configuration",
        )
    if request.sub_resource or request.operation not in {"CREATE", "UPDATE"}:
        return Verdict(), ""
    if not isinstance(request.object, dict):
        raise BadReview("request.object is missing")
    entry = ServiceEntry.parse(request.object, request.namespace, policy.today)
    if request.operation == "UPDATE":
        old = ServiceEntry.parse(request.old_object, request.namespace)
        verdict = review_update(entry, request.old_object, request.object, policy)
    else:
        old, verdict = None, review(entry, policy)
    verdict = beside(verdict, entry, siblings, policy, old)
    return (as_stored(verdict) if stage is Stage.VALIDATE else verdict), ""


def _response(uid: str, verdict: Verdict, allowed: bool, codes: tuple[str, ...], remark: str) -> JSON:
    response: dict[str, JSON] = {"uid": uid, "allowed": allowed}
    if not allowed:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": verdict.denial}
    if verdict.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(_encoder.encode(verdict.patch)).decode()
    if warnings := [*verdict.warnings, *([remark] if remark else [])]:
        response["warnings"] = warnings
    if codes:
        response["auditAnnotations"] = {"findings": ",".join(codes)}
    return {"apiVersion": ADMISSION_VERSION, "kind": "AdmissionReview", "response": response}
