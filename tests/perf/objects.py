"""The ServiceEntries that are measured with, and the reviews that the API server would make of them."""

import json
from typing import Any

from tests.builders import applied

Object = dict[str, Any]
NAMESPACES = [f"many-{number}" for number in range(10)]
"""For many entries: by default no namespace may have ten thousand objects."""


def entry(number: int, *, hosts: int = 1, resolution: str = "NONE") -> Object:
    """The recipe's ServiceEntry, with hosts that no other number has."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": f"external-{number}"},
        "spec": {
            "hosts": host_names(number, hosts),
            "location": "MESH_EXTERNAL",
            "ports": [
                {"number": 80, "name": "http", "protocol": "HTTP"},
                {"number": 443, "name": "https", "protocol": "HTTPS"},
            ],
            "resolution": resolution,
        },
    }


def host_names(number: int, hosts: int = 1) -> list[str]:
    """The hosts of an entry, which are the names of its VirtualServices too."""
    return [f"api-{number}-{index}.example.com" for index in range(hosts)]


def small_review() -> bytes:
    """An AdmissionReview of hardly more than an entry."""
    return _review(entry(1))


def large_review() -> bytes:
    """An AdmissionReview of 2.8 KB: with what kubectl and the API server add to an entry."""
    given = applied(entry(1, hosts=3))
    given["metadata"] |= {"labels": _LABELS, "managedFields": _MANAGED}
    return _review(given)


def _review(given: Object) -> bytes:
    resource = {"group": "networking.istio.io", "version": "v1", "resource": "serviceentries"}
    kind = {"group": "networking.istio.io", "version": "v1", "kind": "ServiceEntry"}
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "name": given["metadata"]["name"],
        "namespace": "team",
        "operation": "CREATE",
        "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        "object": given | {"metadata": given["metadata"] | {"namespace": "team"}},
        "oldObject": None,
        "dryRun": False,
        "options": {
            "kind": "CreateOptions",
            "apiVersion": "meta.k8s.io/v1",
            "fieldManager": "kubectl-client-side-apply",
        },
    }
    return json.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}).encode()


_LABELS = {
    "app.kubernetes.io/name": "checkout",
    "app.kubernetes.io/instance": "checkout-production",
    "app.kubernetes.io/part-of": "shop",
    "app.kubernetes.io/managed-by": "Helm",
    "helm.sh/chart": "checkout-4.11.0",
}
_MANAGED = [
    {
        "manager": "kubectl-client-side-apply",
        "operation": "Update",
        "apiVersion": "networking.istio.io/v1",
        "time": "2025-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {
                "f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}},
                "f:labels": {".": {}, **{f"f:{name}": {} for name in _LABELS}},
            },
            "f:spec": {".": {}, "f:hosts": {}, "f:location": {}, "f:ports": {}, "f:resolution": {}},
        },
    }
]
