"""What is particular to KRM functions: their configuration, and the results they give.

After kustomize's Configuration Functions Specification, which kpt follows too.
"""

from collections.abc import Iterable, Iterator

from app.core.policy.model import KIND, GuardPolicy
from app.core.policy.reader import parse_policy
from app.core.resources.service_entry import JSON, Fields
from app.core.routes.survey import Reviewed, Skipped
from app.core.rules.findings import Finding

ANNOTATIONS = ("internal.config.kubernetes.io/", "config.kubernetes.io/")
"""Prefixes of the annotations in which orchestrators note the path and index of an item's file."""


def configured(resource_list: JSON, today: str) -> GuardPolicy | None:
    """Return the policy that a function is called with, None if it is with something else; raises PolicyError."""
    config = resource_list.get("functionConfig")
    if not isinstance(config, dict) or config.get("kind") != KIND:
        return None
    name = Fields(config, "").child("metadata").text("name")
    return parse_policy({**config, "metadata": {"name": name}}).on(today)


def results(reviewed: Iterable[Reviewed], skipped: Iterable[Skipped]) -> list[JSON]:
    """Return what there is to say of the entries, and of those that are not reviewed, as a function says it."""
    unreviewed = [{"message": f"The list {one.reason}", "severity": "warning"} for one in skipped]
    return [*(_result(one, finding) for one in reviewed for finding in one.findings), *unreviewed]


def _result(one: Reviewed, finding: Finding) -> JSON:
    kind = {name: one.manifest[name] for name in ("apiVersion", "kind")}
    field, file = dict(_field(one, finding)), dict(_file(one.manifest))
    return {
        "message": f"{finding.code}: {finding.message}. {finding.remedy}",
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
