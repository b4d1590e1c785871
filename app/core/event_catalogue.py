"""The catalogue of Events, and the Events about one ServiceEntry."""

from collections.abc import Iterable
from typing import Literal

from app.core.resources.records import Record
from app.core.routes.limits import Exceeded
from app.core.routes.plan import Conflict
from app.core.routes.virtual_service import Emitted
from app.core.rules.catalogue import EXEMPTED as IS_EXEMPTED
from app.core.rules.catalogue import EXEMPTION_ENDS as HAS_AN_END
from app.core.rules.catalogue import RETRIES_NOT_APPLICABLE as HAS_NO_RETRIES
from app.core.rules.findings import Finding
from app.core.rules.verdict import Verdict


class Reason(Record):
    """The reason of an Event: its name, its type, its meaning, and the Event's `action`."""

    name: str
    type: Literal["Normal", "Warning"]
    meaning: str
    action: str


class Notice(Record):
    """An Event about an entry: its reason and its note."""

    reason: Reason
    note: str


VIRTUAL_SERVICE_APPLIED = Reason(
    "VirtualServiceApplied", "Normal", "A VirtualService was written for a host of the entry.", "Apply"
)
DESTINATION_RULE_APPLIED = Reason(
    "DestinationRuleApplied", "Normal", "A DestinationRule was written for a host of the entry.", "Apply"
)
HOST_CONFLICT = Reason(
    "HostConflict", "Warning", "An object that the guard does not manage claims a host of the entry.", "Yield"
)
RETRIES_NOT_APPLICABLE = Reason(
    "RetriesNotApplicable",
    "Normal",
    "The entry has ports whose requests the proxy cannot read and therefore cannot retry.",
    "Review",
)
UNFIXABLE = Reason(
    "Unfixable",
    "Warning",
    "The stored entry cannot be given resolution DNS, or a sibling keeps a different resolution. The note has the "
    "reason and a remedy.",
    "Review",
)
EXEMPTED = Reason("Exempted", "Normal", "The policy or an annotation exempts the entry.", "Review")
EXEMPTION_ENDS = Reason(
    "ExemptionEnds",
    "Warning",
    "The exemption of the entry ends within 14 days, or has ended: the next write of the entry is reviewed.",
    "Review",
)
REMEDIATED = Reason(
    "Remediated",
    "Normal",
    "The controller patched the stored entry, because the policy says existing: Remediate or because a sibling keeps "
    "its resolution.",
    "Remediate",
)
REMEDIATION_REFUSED = Reason(
    "RemediationRefused",
    "Warning",
    "The API server or another webhook rejects the patch of the stored entry.",
    "Remediate",
)

LIMIT_EXCEEDED = Reason(
    "LimitExceeded",
    "Warning",
    "The entry exceeds a limit of the policy, alone or with older entries of its namespace: nothing is emitted for it.",
    "Review",
)
WRITE_REFUSED = Reason(
    "WriteRefused",
    "Warning",
    "The API server rejects writes in the namespace, for example because of a quota, an admission policy or a "
    "webhook. The controller retries all objects of the namespace with increasing delay; only one entry gets the "
    "Event.",
    "Apply",
)

OBJECT_CONTESTED = Reason(
    "ObjectContested",
    "Warning",
    "Another client changes or deletes an object of the guard again and again. The controller repairs it with "
    "increasing delay, up to a minute.",
    "Apply",
)

CATALOGUE: tuple[Reason, ...] = (
    VIRTUAL_SERVICE_APPLIED,
    DESTINATION_RULE_APPLIED,
    HOST_CONFLICT,
    RETRIES_NOT_APPLICABLE,
    UNFIXABLE,
    EXEMPTED,
    EXEMPTION_ENDS,
    REMEDIATED,
    REMEDIATION_REFUSED,
    LIMIT_EXCEEDED,
    WRITE_REFUSED,
    OBJECT_CONTESTED,
)
_APPLIED = {"VirtualService": VIRTUAL_SERVICE_APPLIED, "DestinationRule": DESTINATION_RULE_APPLIED}


def notices(verdict: Verdict) -> tuple[Notice, ...]:
    """Return the Events that describe the current state of a stored entry, one for each reason."""
    retries = [finding for finding in verdict.findings if finding.rule is HAS_NO_RETRIES]
    exempted = [finding for finding in verdict.findings if finding.rule is IS_EXEMPTED]
    ends = [finding for finding in verdict.findings if finding.rule is HAS_AN_END]
    by_reason = (
        (UNFIXABLE, verdict.unfixable),
        (RETRIES_NOT_APPLICABLE, retries),
        (EXEMPTED, exempted),
        (EXEMPTION_ENDS, ends),
    )
    return tuple(Notice(reason, _note(found)) for reason, found in by_reason if found)


def applied(emitted: Emitted, *, created: bool) -> Notice:
    """Return the Event about an object that was written."""
    done = "created" if created else "updated"
    return Notice(_APPLIED[emitted.kind], f"{emitted.kind} {emitted.key.name} was {done}")


def conflict(found: Conflict) -> Notice:
    """Return the Event about an object that is not emitted because of a claim."""
    return Notice(HOST_CONFLICT, found.finding.message)


def limited(exceeded: Exceeded) -> Notice:
    """Return the Event about an entry that exceeds a limit."""
    return Notice(LIMIT_EXCEEDED, _note([exceeded.finding]))


def refused(namespace: str, reason: str) -> Notice:
    """Return the Event about a namespace in which the API server rejects writes."""
    return Notice(WRITE_REFUSED, f"objects of namespace {namespace} cannot be written: {reason}")


def contested(name: str, managers: str) -> Notice:
    """Return the Event about an object that other field managers change again and again."""
    note = f"the objects named {name} are changed again and again by {managers}; they are repaired with a delay"
    return Notice(OBJECT_CONTESTED, note)


def _note(found: Iterable[Finding]) -> str:
    return " ".join(f"{finding.sentence}. {finding.remedy}" for finding in found)
