"""KRM functions: their configuration and their results.

It follows kustomize's Configuration Functions Specification, as kpt does.
"""

from collections.abc import Iterable, Iterator

from app.core.policy.model import KIND, GuardPolicy
from app.core.policy.reader import parse_policy
from app.core.resources.fields import JSON, Fields
from app.core.routes.survey import Reviewed, Skipped
from app.core.rules.findings import Finding

ANNOTATIONS = ("internal.config.kubernetes.io/", "config.kubernetes.io/")
"""Prefixes of the annotations in which orchestrators note the path and index of an item's file."""


def configured(resource_list: JSON, today: str) -> GuardPolicy | None:
    """Return the policy in a function's configuration, None if that is something else; raises PolicyError."""
    config = resource_list.get("functionConfig")
    if not isinstance(config, dict) or config.get("kind") != KIND:
        return None
    name = Fields(config, "").child("metadata").text("name")
    return parse_policy({**config, "metadata": {"name": name}}).on(today)


def results(reviewed: Iterable[Reviewed], skipped: Iterable[Skipped]) -> list[JSON]:
    """Return the findings on entries, and the entries that were not reviewed, as results of a function."""
    unreviewed = [{"message": f"The list {item.reason}", "severity": "warning"} for item in skipped]
    return [*(_result(entry, finding) for entry in reviewed for finding in entry.findings), *unreviewed]


def _result(reviewed: Reviewed, finding: Finding) -> JSON:
    kind = {name: reviewed.manifest[name] for name in ("apiVersion", "kind")}
    field, file = dict(_field(reviewed, finding)), dict(_file(reviewed.manifest))
    return {
        "message": f"{finding.code}: {finding.message}. {finding.remedy}",
        "severity": finding.severity.value,
        "resourceRef": {**kind, "namespace": reviewed.entry.key.namespace, "name": reviewed.entry.key.name},
        **({"field": field} if field else {}),
        **({"file": file} if file else {}),
        "tags": {"code": finding.code, "rule": finding.rule.name},
    }


def _field(reviewed: Reviewed, finding: Finding) -> Iterator[tuple[str, JSON]]:
    if finding.path:
        yield "path", finding.path
    if reviewed.verdict.patch and finding.path == "spec.resolution":
        yield "currentValue", reviewed.entry.resolution
        yield "proposedValue", reviewed.verdict.patch[0]["value"]


def _file(manifest: JSON) -> Iterator[tuple[str, JSON]]:
    annotations = Fields(manifest, "").child("metadata").child("annotations")
    prefix = next((prefix for prefix in ANNOTATIONS if annotations.text(f"{prefix}path")), None)
    if prefix:
        yield "path", annotations.text(f"{prefix}path")
        index = annotations.text(f"{prefix}index")
        if index.isascii() and index.isdecimal():
            yield "index", int(index)
