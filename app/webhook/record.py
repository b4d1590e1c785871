"""What the log and a trace say about an answered review: never the object, and no field longer than a name can be."""

from app.telemetry.metrics import AdmissionOutcome
from app.telemetry.tracing import ENTRY_UIDS, Attributes
from app.webhook.admission import Answer, Stage

LONGEST_NAME, LONGEST_USER = 253, 512
"""Maximum number of characters of a request field in the log. A service account's user name has up to 340."""


def log_line(stage: Stage, reply: Answer, seconds: float) -> dict[str, object]:
    """Return the fields of the log line."""
    return {
        "stage": stage.value,
        "uid": reply.uid[:LONGEST_NAME],
        "operation": reply.operation[:LONGEST_NAME],
        "namespace": reply.namespace[:LONGEST_NAME],
        "name": reply.name[:LONGEST_NAME],
        "user": reply.user[:LONGEST_USER],
        "verdict": outcome_of(reply),
        "codes": reply.codes,
        "milliseconds": round(seconds * 1000, 3),
    }


def attributes(reply: Answer) -> Attributes:
    """Return the attributes of the span."""
    return {
        "k8s.namespace.name": reply.namespace,
        "serviceentry_guard.name": reply.name,
        "serviceentry_guard.operation": reply.operation,
        "serviceentry_guard.verdict": outcome_of(reply),
        "serviceentry_guard.codes": reply.codes,
        ENTRY_UIDS: (reply.entry_uid,) if reply.entry_uid else (),
    }


def outcome_of(reply: Answer) -> AdmissionOutcome:
    """Return the verdict, as the metrics count it."""
    if not reply.allowed:
        return "denied"
    return "patched" if reply.patched else "allowed"
