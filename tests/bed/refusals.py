"""An admission policy of a cluster that refuses VirtualServices in some namespaces."""

from typing import Any

LABEL = {"virtual-services": "refused"}
"""The label of these namespaces."""


def refusing() -> dict[str, Any]:
    """The policy and its binding."""
    name, group = "refuse-virtual-services", "admissionregistration.k8s.io"
    rule = {
        "apiGroups": ["networking.istio.io"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["virtualservices"],
    }
    constraints = {"resourceRules": [rule], "namespaceSelector": {"matchLabels": LABEL}}
    validation = {"expression": "false", "message": "no VirtualServices here", "reason": "Forbidden"}
    policy = {
        "apiVersion": f"{group}/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"matchConstraints": constraints, "validations": [validation]},
    }
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [policy, binding]}
