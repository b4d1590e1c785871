"""Policy reports on ServiceEntries: the results of a namespace, and the report that contains them.

The fields are those that `openreports.io/v1alpha1` Report and `wgpolicyk8s.io/v1alpha2` PolicyReport have in common.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from app.core.policy.model import GuardPolicy
from app.core.resources.fields import JSON, Fields
from app.core.resources.records import Record
from app.core.resources.service_entry import API_VERSION, MANAGED_BY, MANAGER, PREFIX, Key, ServiceEntry
from app.core.routes.index import Neighbours
from app.core.routes.plan import desired_at
from app.core.rules.catalogue import EXEMPTED
from app.core.rules.findings import Finding, Severity
from app.core.rules.resolution import in_scope
from app.core.rules.verdict import Judge, review

Outcome = Literal["fail", "warn", "skip", "pass"]

OUTCOMES: tuple[Outcome, ...] = ("fail", "warn", "skip", "pass")
"""In the order of priority if a report cannot contain all results."""
COMPLIANT = "Compliant"
"""The rule of the result of an entry that would not be changed or refused."""
LEFT_OUT = f"{PREFIX}results-left-out"
"""The annotation with the number of results that are left out. The summary counts them too."""
ROOM = 1_000_000
"""Maximum size of the results in bytes of JSON; an object in etcd may have 1.5 MiB."""

_OF_FINDING: dict[Severity, tuple[Outcome, str]] = {
    Severity.ERROR: ("fail", "high"),
    Severity.WARNING: ("warn", "medium"),
    Severity.INFO: ("skip", "info"),
}


class Result(Record):
    """The result of one rule for one entry; `severity` is a value of the reports' schema."""

    entry: ServiceEntry
    outcome: Outcome
    rule: str
    severity: str
    message: str
    remedy: str = ""


def results(
    entry: ServiceEntry, policy: GuardPolicy, contested: Iterable[Finding] = (), judge: Judge = review
) -> tuple[Result, ...]:
    """Return the results of an entry: one for each finding, and a pass if all findings are notes.

    `contested` are the findings on its hosts beside other objects. An entry out of scope has no pass. `judge` is
    `review`, or a cache of it.
    """
    findings = (*judge(entry, policy).findings, *contested)
    found = tuple(_result(entry, finding) for finding in findings)
    if not in_scope(entry, policy.settings(entry.key.namespace)):
        return found
    if all(each.severity is Severity.INFO and each.rule is not EXEMPTED for each in findings):
        return (*found, Result(entry, "pass", COMPLIANT, "info", "nothing is to be changed or refused"))
    return found


def contested(key: Key, neighbours: Neighbours) -> dict[Key, tuple[Finding, ...]]:
    """Return the findings on each entry at a key beside other objects; arguments as of `desired_at`."""
    plan = desired_at(key, neighbours)
    found = dict(plan.findings)
    for conflict in plan.conflicts:
        owner = conflict.emitted.owner.key
        found[owner] = (*found.get(owner, ()), conflict.finding)
    return found


def report(place: Key, found: Iterable[Result], known: Mapping[int, int], now: int, room: int = ROOM) -> JSON | None:
    """Return the report of a namespace, without apiVersion and kind; None if it has no results.

    A result keeps its time in `known`, in seconds since the epoch, and gets `now` if it is new.
    """
    ordered = sorted(
        found, key=lambda result: (OUTCOMES.index(result.outcome), result.entry.key.name, result.rule, result.message)
    )
    if not ordered:
        return None
    counts = Counter(result.outcome for result in ordered)
    kept = list(_fitting((_document(result, known, now) for result in ordered), room))
    left_out = len(ordered) - len(kept)
    return {
        "metadata": {
            "namespace": place.namespace,
            "name": place.name,
            "labels": {MANAGED_BY: MANAGER},
            "annotations": {LEFT_OUT: str(left_out)} if left_out else {},
        },
        "results": kept,
        "summary": {"error": 0, **{outcome: counts[outcome] for outcome in OUTCOMES}},
    }


def since(report: JSON) -> dict[int, int]:
    """Return the time of each result of a report, by its identity."""
    results = Fields(report, "").children("results")
    return {_identity(item.values): item.child("timestamp").number("seconds") for item in results}


def digest(report: JSON) -> bytes:
    """Return a digest of a report's content, to compare reports."""
    root = Fields(report, "")
    left_out = root.child("metadata").child("annotations").text(LEFT_OUT)
    said = [root.values.get("results"), root.values.get("summary"), left_out]
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).digest()


def _result(entry: ServiceEntry, finding: Finding) -> Result:
    outcome, severity = _OF_FINDING[finding.severity]
    rule = f"{finding.code}-{finding.rule.name}"
    message = f"{finding.path}: {finding.message}" if finding.path else finding.message
    return Result(entry, outcome, rule, severity, message, finding.remedy)


def _document(result: Result, known: Mapping[int, int], now: int) -> JSON:
    key = result.entry.key
    about = {"apiVersion": API_VERSION, "kind": "ServiceEntry", "namespace": key.namespace, "name": key.name}
    document = {
        "source": MANAGER,
        "policy": MANAGER,
        "category": "Istio",
        "rule": result.rule,
        "result": result.outcome,
        "severity": result.severity,
        "message": result.message,
        "resources": [about | {"uid": result.entry.uid}],
        **({"properties": {"remedy": result.remedy}} if result.remedy else {}),
    }
    return {**document, "timestamp": {"seconds": known.get(_identity(document), now), "nanos": 0}}


def _identity(document: JSON) -> int:
    """Return the identity of a result over time, in eight bytes, because many thousands are stored."""
    said = [document.get(name) for name in ("rule", "result", "message", "resources")]
    return int.from_bytes(hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=8).digest())


def _fitting(documents: Iterable[JSON], room: int) -> Iterator[JSON]:
    for document in documents:
        room -= len(json.dumps(document, ensure_ascii=False).encode()) + 1
        if room < 0:
            return
        yield document
