"""JSON Patches (RFC 6902) that set a ServiceEntry's resolution, and nothing else."""

import json
from functools import lru_cache

from jsonpatch import JsonPatch

from app.core.resources.fields import JSON, Fields
from app.core.resources.service_entry import MANAGER

Operation = dict[str, str]
PATH = "/spec/resolution"

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@lru_cache(maxsize=8)
def set_resolution(resolution: str, *, present: bool) -> tuple[Operation, ...]:
    """Return the smallest patch that sets spec.resolution, which is `present` or not."""
    patch = JsonPatch([{"op": "replace" if present else "add", "path": PATH, "value": resolution}])
    return tuple(patch.patch)


def apply_patch(manifest: JSON, patch: tuple[Operation, ...]) -> JSON:
    """Return a patched copy of a manifest."""
    return JsonPatch(patch).apply(manifest)


def authored(manifest: JSON) -> str:
    """Return the resolution that the author of a stored entry wrote, NONE if none; "" if the manifest does not show it.

    The annotation of `kubectl apply` shows it. Else managedFields show whether the author wrote one: the API server
    records the fields of a request before it calls mutating webhooks, so no manager owns what only admission wrote.
    """
    meta = Fields(manifest, "").child("metadata")
    try:
        applied = json.loads(meta.child("annotations").text(LAST_APPLIED) or "null")
    except (ValueError, RecursionError):
        return ""
    spec = Fields(applied, "").child("spec")
    if spec.values:
        return spec.text("resolution") or "NONE"
    managers = [one for one in meta.children("managedFields") if not one.text("subresource")]
    owners = [one.text("manager") for one in managers if _owns_resolution(one)]
    return "NONE" if managers and set(owners) <= {MANAGER} else ""


def _owns_resolution(manager: Fields) -> bool:
    return "f:resolution" in manager.child("fieldsV1").child("f:spec").values
