"""The obstacles to reviewing a manifest: the API server would reject it, or it must be rendered first.

Every object that looks like a ServiceEntry is checked here before it is reviewed, so that none is skipped silently. An
object of kind ServiceEntry in another API group belongs to another product, and is ignored.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from app.core.resources.fields import JSON, Fields
from app.core.resources.kinds import is_istio, is_service_entry
from app.core.resources.records import Record
from app.core.resources.service_entry import API_VERSION, GROUP, PREFIX, VERSIONS
from app.core.routes.observed import KINDS
from app.core.rules.findings import and_more, printable, quoted
from app.manifests.embedded import embedded

ENTRY_KIND = "ServiceEntry"
JudgedFields: TypeAlias = Mapping[str, "JudgedFields"]
_LEAF: JudgedFields = {}
_SPEC: JudgedFields = {
    **dict.fromkeys(("hosts", "addresses", "location", "resolution", "exportTo"), _LEAF),
    "ports": dict.fromkeys(("number", "protocol", "targetPort"), _LEAF),
    "endpoints": {"address": _LEAF},
}
"""The fields of a spec on which the verdict depends."""

_PLACEHOLDER = re.compile(r"\$\{+[^{}]*\}*|\{\{[^{}]*\}*|\$\([^()]*\)")
_WAYS = {
    "${": "substitute the variables first (flux build kustomization, flux envsubst)",
    "{{": "render the template first",
    "$(": "render it first (kustomize build)",
}
_PROCESS = "process the Template first (oc process)"


class Obstacle(Record):
    """The reason why a manifest cannot be reviewed, as a predicate of its file, and the field.

    `rejected` means that the API server rejects the manifest; otherwise it must be rendered, and is skipped.
    """

    reason: str
    path: str = ""
    rejected: bool = False


def obstacle(
    manifest: JSON, *, listed: bool = False, template: bool = False, placeholders: bool = True
) -> Obstacle | None:
    """Return the obstacle to reviewing a manifest; None if there is none, or if it is not a ServiceEntry.

    `listed` means that the manifest is an item of a List, `template` that it is an object of an OpenShift Template,
    `placeholders` that a value may contain one.
    """
    if not isinstance(manifest, dict):
        return None
    if problems := list(_problems(manifest, listed)):
        sentences = "; ".join(sentence for _, sentence in problems)
        reason = f"has {_named(manifest)} that the API server rejects: {sentences}"
        return Obstacle(reason, problems[0][0], rejected=True)
    return _placeholder(manifest, template) if placeholders and is_service_entry(manifest) else None


def enclosed(manifest: JSON) -> Obstacle | None:
    """Return the obstacle if a manifest of another kind contains ServiceEntries, as objects or as text."""
    if not isinstance(manifest, dict) or manifest.get("kind") == ENTRY_KIND or is_istio(manifest, KINDS):
        return None
    paths = list(embedded(manifest))
    if not paths:
        return None
    kind = printable(str(manifest.get("kind") or "document without kind"))
    place = and_more(f"has a ServiceEntry inside a {kind}, at {printable(paths[0])}", len(paths))
    return Obstacle(f"{place}, which is not reviewed: review it as a manifest of its own", paths[0])


def _problems(manifest: JSON, listed: bool) -> Iterator[tuple[str, str]]:
    """Yield the fields for which the API server rejects a would-be ServiceEntry, each with the reason."""
    kind, version = manifest.get("kind"), str(manifest.get("apiVersion") or "")
    group, _, number = version.rpartition("/")
    if not kind:
        if group == GROUP or (listed and not version and "hosts" in Fields(manifest, "").child("spec").values):
            yield "", "kind is missing"
        return
    if str(kind).casefold() not in {"serviceentry", "serviceentries"} or group not in {GROUP, ""}:
        return
    if kind != ENTRY_KIND:
        yield "kind", f"there is no kind {quoted(str(kind))} (write {ENTRY_KIND})"
    if not version:
        yield "", f"apiVersion is missing (write {API_VERSION})"
    elif not group or number not in VERSIONS:
        yield "apiVersion", f"there is no apiVersion {quoted(version)} for it (write {API_VERSION})"
    meta = manifest.get("metadata")
    if not isinstance(meta, dict) or not (meta.get("name") or meta.get("generateName")):
        yield "metadata", "metadata.name is missing"


def _named(manifest: JSON) -> str:
    name = Fields(manifest, "").child("metadata").text("name")
    return f"a {ENTRY_KIND} {quoted(name)}" if name else f"a {ENTRY_KIND}"


def _placeholder(manifest: JSON, template: bool) -> Obstacle | None:
    """Return the first placeholder in a field on which the verdict depends."""
    annotations = Fields(manifest, "").child("metadata").child("annotations").values
    own = dict.fromkeys((name for name in annotations if name.startswith(PREFIX)), _LEAF)
    shape: JudgedFields = {"metadata": {"namespace": _LEAF, "annotations": own}, "spec": _SPEC}
    for path, text in _judged(manifest, "", shape):
        if found := _PLACEHOLDER.search(text):
            way = _PROCESS if template else _WAYS[found[0][:2]]
            problem = f"{path} contains {printable(found[0])}; {way}"
            return Obstacle(f"has {_named(manifest)} that is not reviewed: {problem}", path)
    return None


def _judged(value: JSON, path: str, shape: JudgedFields) -> Iterator[tuple[str, str]]:
    """Yield the strings of a value that are part of the shape, each with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _judged(inner, f"{path}[{index}]", shape)
    elif isinstance(value, dict):
        for name in (name for name in value if name in shape):
            spelled = f'{path}["{name}"]' if name.startswith(PREFIX) else f"{path}.{name}".removeprefix(".")
            yield from _judged(value[name], spelled, shape[name])
