"""The review as a KRM function: a ResourceList in, the same out with entries repaired and objects emitted.

The shape is that of kustomize's Configuration Functions Specification, which kpt follows too.
"""

from collections.abc import Iterator, Sequence

from app.core.findings import Finding
from app.core.plan import KINDS, Observed
from app.core.policy import KIND, GuardPolicy, parse_policy
from app.core.resources import JSON, Fields, is_istio
from app.core.survey import Reviewed
from app.manifests.edits import renewed

ANNOTATIONS = ("internal.config.kubernetes.io/", "config.kubernetes.io/")
"""Prefixes of the annotations in which orchestrators note the path and index of an item's file."""


def configured(resource_list: JSON) -> GuardPolicy | None:
    """Return the policy that a function is called with, None if it is with something else; raises PolicyError."""
    config = resource_list.get("functionConfig")
    if not isinstance(config, dict) or config.get("kind") != KIND:
        return None
    name = Fields(config, "").child("metadata").text("name")
    return parse_policy({**config, "metadata": {"name": name}})


def transform(resource_list: JSON, reviewed: Sequence[Reviewed], namespace: str) -> JSON:
    """Return the list as the function gives it, with the reviews of its entries; what is refused stays as it is."""
    items = list(resource_list["items"])
    places = {
        (one["kind"], Observed.parse(one, namespace).key): number
        for number, one in enumerate(items)
        if is_istio(one, KINDS)
    }
    for one in reviewed:
        if one.origin.item is not None and one.verdict.allowed:
            items[one.origin.item] = one.stored
        for emitted, manifest in zip(one.emitted, one.objects, strict=True):
            place = places.get((emitted.kind, emitted.key))
            if place is None:
                items.append(manifest)
            else:
                items[place] = renewed(items[place], manifest)
    results = [_result(one, finding) for one in reviewed for finding in one.findings]
    return {**resource_list, "items": items, "results": results}


def _result(one: Reviewed, finding: Finding) -> JSON:
    kind = {name: one.manifest[name] for name in ("apiVersion", "kind")}
    field, file = dict(_field(one, finding)), dict(_file(one.manifest))
    return {
        "message": f"{finding.code}: {finding.message}. {finding.rule.remedy}",
        "severity": finding.severity.value,
        "resourceRef": {**kind, "namespace": one.entry.key.namespace, "name": one.entry.key.name},
        **({"field": field} if field else {}),
        **({"file": file} if file else {}),
        "tags": {"code": finding.code, "rule": finding.rule.name},
    }


def _field(one: Reviewed, finding: Finding) -> Iterator[tuple[str, JSON]]:
    if finding.path:
        yield "path", finding.path
    if one.verdict.patch and finding.path == "spec.resolution":
        yield "currentValue", one.entry.resolution
        yield "proposedValue", one.verdict.patch[0]["value"]


def _file(manifest: JSON) -> Iterator[tuple[str, JSON]]:
    annotations = Fields(manifest, "").child("metadata").child("annotations")
    prefix = next((prefix for prefix in ANNOTATIONS if annotations.text(f"{prefix}path")), None)
    if prefix:
        yield "path", annotations.text(f"{prefix}path")
        index = annotations.text(f"{prefix}index")
        if index.isascii() and index.isdecimal():
            yield "index", int(index)
