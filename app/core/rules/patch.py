"""JSON Patches (RFC 6902) that set a ServiceEntry's resolution, and nothing else."""

import json
from functools import lru_cache

from jsonpatch import JsonPatch

from app.core.resources.fields import JSON, Fields

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


def wrote(manifest: JSON, resolution: str) -> bool:
    """Say whether the author wrote this resolution, according to kubectl's last-applied annotation."""
    annotations = Fields(manifest, "").child("metadata").child("annotations")
    try:
        applied = json.loads(annotations.text(LAST_APPLIED) or "null")
    except (ValueError, RecursionError):
        return False
    spec = Fields(applied, "").child("spec")
    return bool(spec.values) and (spec.text("resolution") or "NONE") == resolution
