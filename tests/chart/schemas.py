"""JSON Schemas for kubeconform, made from the OpenAPI of a live API server: what it serves, and nothing older."""

import json
from pathlib import Path
from typing import Any

from tests.bed.control_plane import ControlPlane

LOCATION = "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json"
KIND = "x-kubernetes-group-version-kind"
INT_OR_STRING = {"anyOf": [{"type": "integer"}, {"type": "string"}]}


def write_schemas(cluster: ControlPlane, folder: Path, versions: set[str]) -> None:
    """Write a file for every kind of these API versions ("v1", "apps/v1"), strict: fields that it lacks are refused."""
    for version in versions:
        path = f"/openapi/v3/apis/{version}" if "/" in version else f"/openapi/v3/api/{version}"
        status, body = cluster.get(path)
        assert status == 200, f"{version} is not served"
        components = json.loads(body)["components"]["schemas"]
        strict = {"components": {"schemas": {name: _strict(one) for name, one in components.items()}}}
        for name, one in components.items():
            for kind in one.get(KIND, []):
                group = kind["group"] or kind["version"]
                document = {"$ref": f"#/components/schemas/{name}", **strict}
                file = folder / f"{group}_{kind['version']}_{kind['kind'].lower()}.json"
                file.write_text(json.dumps(document))


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return INT_OR_STRING
    strict = {name: _strict(one) for name, one in schema.items() if name not in {"default", "format"}}
    known = isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema
    if known and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict["additionalProperties"] = False
    return strict
