"""The backstop: the policy as objects of admissionregistration.k8s.io, which the API server itself enforces.

A ValidatingAdmissionPolicy rejects an entry that cannot be repaired, also while no webhook is running. With the engine
`native` a MutatingAdmissionPolicy (Kubernetes 1.36 or newer) repairs entries, and the ValidatingAdmissionPolicy
rejects entries that are still not repaired. Their expressions come from `conditions` and `objections`.
"""

import enum
from collections.abc import Iterator

from app.core.cel.exemptions import has_owners
from app.core.cel.expressions import FALSE, TRUE, either
from app.core.cel.messages import not_mutated, objections, would_change
from app.core.cel.namespaces import Layers
from app.core.cel.variables import ANNOTATED, PUBLIC, TOUCHED, UNRESOLVED, Variables, variables
from app.core.policy.model import GuardPolicy, Mode
from app.core.policy.tenancy import Require
from app.core.resources.fields import JSON
from app.core.resources.service_entry import ADMISSION_GROUP, GROUP, MANAGED_BY, MANAGER, VERSIONS
from app.core.rules.findings import Finding
from app.core.rules.kept_resolutions import Standing

_API_VERSION = f"{ADMISSION_GROUP}/v1"
VALIDATING, MUTATING = "ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"
REFUSE, WARN, REPAIR = (f"{MANAGER}-{what}" for what in ("refuse", "warn", "repair"))
"""Names of the policies, and of their bindings."""
NAMES = ((VALIDATING, REFUSE), (VALIDATING, WARN), (MUTATING, REPAIR))
"""Every possible policy by kind and name; rejecting ones come first."""
UNSAID = "this ServiceEntry cannot be stored; `serviceentry-guard review` says why"
"""The message in place of one that is longer than the API server allows."""


class Engine(enum.Enum):
    """VALIDATING: the API server also rejects, beside the webhooks.

    NATIVE: it also repairs, in place of the mutating webhook.
    """

    VALIDATING = "validating"
    NATIVE = "native"


def backstop(policy: GuardPolicy, engine: Engine, standing: Standing | None = None) -> tuple[JSON, ...]:
    """Return the objects for a policy, each before its binding; empty if the policy is Off everywhere.

    `standing` are the stored entries that keep their resolution; their siblings are not changed. Only the native
    engine needs them.
    """
    enforced, warned = Layers.of(policy, Mode.ENFORCE), Layers.of(policy, Mode.WARN)
    changing = {at: stays for at, stays in (standing or {}).items() if policy.settings(at[0]).mode is Mode.ENFORCE}
    objects: list[JSON] = []
    if enforced and engine is Engine.NATIVE:
        objects += _bound(MUTATING, REPAIR, _mutating_spec(enforced, changing), {})
    if enforced:
        refusing = _refusing_spec(enforced, engine, changing)
        objects += _bound(VALIDATING, REFUSE, refusing, {"validationActions": ["Deny"]})
    if warned:
        objects += _bound(VALIDATING, WARN, _warning_spec(warned, engine), {"validationActions": ["Warn"]})
    return tuple(objects)


def _bound(kind: str, name: str, spec: JSON, binding: JSON) -> Iterator[JSON]:
    yield _object(kind, name, spec)
    yield _object(f"{kind}Binding", name, {"policyName": name, **binding})


def _object(kind: str, name: str, spec: JSON) -> JSON:
    metadata = {"name": name, "labels": {MANAGED_BY: MANAGER}}
    return {"apiVersion": _API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _refusing_spec(layers: Layers, engine: Engine, standing: Standing) -> JSON:
    """Reject an entry with errors.

    A failed evaluation also rejects: it happens only for an entry that is not compliant.
    """
    said = objections(layers, _advice) | {"objections": "variables.errors"}
    if engine is not Engine.NATIVE:
        return _validating_spec(layers, variables(layers) | said, "Fail")
    said["objections"] = f"variables.errors.size() > 0 ? variables.errors : {not_mutated(_advice)}"
    return _validating_spec(layers, variables(layers, standing) | said, "Fail")


def _warning_spec(layers: Layers, engine: Engine) -> JSON:
    """Warn about what mode Enforce would reject, and without webhooks also about what it would change."""
    said = objections(layers, _sentence) | {"objections": "variables.errors"}
    if engine is Engine.NATIVE:
        said["objections"] = f"{would_change(_sentence)} + variables.errors"
    return _validating_spec(layers, variables(layers) | said, "Ignore")


def _advice(finding: Finding) -> str:
    return finding.advice


def _sentence(finding: Finding) -> str:
    return finding.sentence


def _validating_spec(layers: Layers, said: Variables, failure_policy: str) -> JSON:
    validation = {
        "expression": "variables.objections.size() == 0",
        "messageExpression": 'variables.objections.join(" ")',
        "message": UNSAID,
        "reason": "Forbidden",
    }
    return {
        "failurePolicy": failure_policy,
        "matchConstraints": _matched(),
        "matchConditions": _conditions(_refusable(layers)),
        "variables": _named(said),
        "validations": [validation],
    }


def _mutating_spec(layers: Layers, standing: Standing) -> JSON:
    """Set the resolution of an entry. If that fails, the ValidatingAdmissionPolicy or Istio's schema rejects it."""
    patch = '[JSONPatch{op: "add", path: "/spec/resolution", value: variables.target}]'
    expression = f'variables.target == "" ? [] : {patch}'
    return {
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": _matched(),
        "matchConditions": _conditions(UNRESOLVED),
        "variables": _named(variables(layers, standing)),
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
    }


def _matched() -> JSON:
    rule = {
        "apiGroups": [GROUP],
        "apiVersions": list(VERSIONS),
        "operations": ["CREATE", "UPDATE"],
        "resources": ["serviceentries"],
        "scope": "*",
    }
    return {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "resourceRules": [rule]}


def _refusable(layers: Layers) -> str:
    """Return the condition that an entry may be rejected; if hosts have owners, any entry may be."""
    public = any(layers.values(lambda settings: settings.export_to.require is Require.NAMESPACE))
    return either(UNRESOLVED, ANNOTATED, PUBLIC if public else FALSE, TRUE if has_owners(layers) else FALSE)


def _conditions(judged: str) -> JSON:
    """Skip entries that cannot be rejected or changed: this costs almost nothing, and no failure affects them."""
    return [{"name": "not-compliant", "expression": judged}, {"name": "touched", "expression": TOUCHED}]


def _named(variables: Variables) -> JSON:
    return [{"name": name, "expression": expression} for name, expression in variables.items()]
