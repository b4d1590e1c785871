"""JSON Patches (RFC 6902) that set a ServiceEntry's resolution, and nothing else."""

from functools import lru_cache

from jsonpatch import JsonPatch

from app.core.resources.service_entry import JSON

Operation = dict[str, str]
PATH = "/spec/resolution"


@lru_cache(maxsize=8)
def set_resolution(resolution: str, *, present: bool) -> tuple[Operation, ...]:
    """Return the smallest patch that sets spec.resolution, which is `present` or not."""
    patch = JsonPatch([{"op": "replace" if present else "add", "path": PATH, "value": resolution}])
    return tuple(patch.patch)


def apply_patch(manifest: JSON, patch: tuple[Operation, ...]) -> JSON:
    """Return a patched copy of a manifest."""
    return JsonPatch(patch).apply(manifest)
