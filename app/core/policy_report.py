"""How ServiceEntries stand, as policy dashboards read it: the results of a namespace, and the report that has them.

The fields are those that `openreports.io/v1alpha1` Report and `wgpolicyk8s.io/v1alpha2` PolicyReport have in common.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import API_VERSION, JSON, MANAGED_BY, MANAGER, PREFIX, Fields, Key, ServiceEntry
from app.core.routes.index import Neighbours
from app.core.routes.plan import desired_at
from app.core.rules.catalogue import EXEMPTED
from app.core.rules.findings import Finding, Severity
from app.core.rules.resolution import in_scope
from app.core.rules.verdict import Judge, review

Outcome = Literal["fail", "warn", "skip", "pass"]

OUTCOMES: tuple[Outcome, ...] = ("fail", "warn", "skip", "pass")
"""In the order in which a report that cannot hold all of them has them."""
COMPLIANT = "Compliant"
"""The rule of the result of an entry of which nothing would be changed or refused."""
LEFT_OUT = f"{PREFIX}results-left-out"
"""The annotation of a report that says how many results there was no room for. Its summary counts them too."""
ROOM = 1_000_000
"""Bytes of JSON that the results of a report may have: an object of etcd may have 1.5 MiB."""

_OF_FINDING: dict[Severity, tuple[Outcome, str]] = {
    Severity.ERROR: ("fail", "high"),
    Severity.WARNING: ("warn", "medium"),
    Severity.INFO: ("skip", "info"),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What one rule says of one entry; `severity` is a word of the reports' schema."""

    entry: ServiceEntry
    outcome: Outcome
    rule: str
    severity: str
    message: str
    remedy: str = ""


def results(
    entry: ServiceEntry, policy: GuardPolicy, contested: Iterable[Finding] = (), judge: Judge = review
) -> tuple[Result, ...]:
    """Say how an entry stands: a result for each finding, and one that it passes where none is more than a note.

    `contested` is what there is to say of its hosts beside others'. An entry that the policy does not judge passes
    nothing.
    `judge` is `review`, or somebody who remembers what it said.
    """
    findings = (*judge(entry, policy).findings, *contested)
    found = tuple(_result(entry, finding) for finding in findings)
    if not in_scope(entry, policy.settings(entry.key.namespace)):
        return found
    if all(one.severity is Severity.INFO and one.rule is not EXEMPTED for one in findings):
        return (*found, Result(entry, "pass", COMPLIANT, "info", "nothing is to be changed or refused"))
    return found


def contested(key: Key, neighbours: Neighbours) -> dict[Key, tuple[Finding, ...]]:
    """Say of each entry at a key what there is to say of its host beside others'; arguments as of `desired_at`."""
    plan = desired_at(key, neighbours)
    found = dict(plan.findings)
    for conflict in plan.conflicts:
        owner = conflict.emitted.owner.key
        found[owner] = (*found.get(owner, ()), conflict.finding)
    return found


def report(place: Key, found: Iterable[Result], known: Mapping[int, int], now: int, room: int = ROOM) -> JSON | None:
    """Write the report at a place, without apiVersion and kind; None where there is nothing to report.

    A result keeps the time from which it is `known`, in seconds since the epoch, and has `now` if it is new.
    """
    ordered = sorted(found, key=lambda one: (OUTCOMES.index(one.outcome), one.entry.key.name, one.rule, one.message))
    if not ordered:
        return None
    counts = Counter(one.outcome for one in ordered)
    kept = list(_fitting((_document(one, known, now) for one in ordered), room))
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
    """Return from which time each result of a report is known, by what identifies it."""
    results = Fields(report, "").children("results")
    return {_identity(one.values): one.child("timestamp").number("seconds") for one in results}


def digest(report: JSON) -> bytes:
    """Identify what a report says; two that say the same have the same."""
    root = Fields(report, "")
    left_out = root.child("metadata").child("annotations").text(LEFT_OUT)
    said = [root.values.get("results"), root.values.get("summary"), left_out]
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).digest()


def _result(entry: ServiceEntry, finding: Finding) -> Result:
    outcome, severity = _OF_FINDING[finding.severity]
    rule = f"{finding.code}-{finding.rule.name}"
    message = f"{finding.path}: {finding.message}" if finding.path else finding.message
    return Result(entry, outcome, rule, severity, message, finding.remedy)


def _document(one: Result, known: Mapping[int, int], now: int) -> JSON:
    key = one.entry.key
    about = {"apiVersion": API_VERSION, "kind": "ServiceEntry", "namespace": key.namespace, "name": key.name}
    document = {
        "source": MANAGER,
        "policy": MANAGER,
        "category": "Istio",
        "rule": one.rule,
        "result": one.outcome,
        "severity": one.severity,
        "message": one.message,
        "resources": [about | {"uid": one.entry.uid}],
        **({"properties": {"remedy": one.remedy}} if one.remedy else {}),
    }
    return {**document, "timestamp": {"seconds": known.get(_identity(document), now), "nanos": 0}}


def _identity(document: JSON) -> int:
    """Identify a result over time, in eight bytes: many thousands are kept."""
    said = [document.get(name) for name in ("rule", "result", "message", "resources")]
    return int.from_bytes(hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=8).digest())


def _fitting(documents: Iterable[JSON], room: int) -> Iterator[JSON]:
    for one in documents:
        room -= len(json.dumps(one, ensure_ascii=False).encode()) + 1
        if room < 0:
            return
        yield one
