"""Exemptions: which exemption applies to an entry, when it ends, and why an annotation has no effect.

An exemption is compared with the day on which the entry was last written: the day of the request at admission, the day
of the last write for a stored entry. So no decision on a stored entry changes when a day ends. Only the finding that an
exemption ends, or has ended, depends on the day of today.
"""

from app.core.policy.fields import Permission
from app.core.policy.model import Settings
from app.core.policy.tenancy import EVERY, LONGEST_REASON, Exemptions, Temporary
from app.core.resources.days import days_between, is_day, later
from app.core.resources.globs import matches
from app.core.resources.records import Record
from app.core.resources.service_entry import ServiceEntry
from app.core.rules.catalogue import EXEMPTED, EXEMPTION_ENDS, EXEMPTION_REFUSED
from app.core.rules.findings import Finding, Severity, quoted
from app.core.rules.overrides import EXEMPT, EXEMPT_UNTIL, annotation_path
from app.core.rules.resolution import RESOLVING

NOTICE_DAYS = 14
"""How many days before its end an exemption shows as a finding."""


class Exemption(Record):
    """An exemption that applies: its place, its reason, and its last day ("" if it has no end)."""

    path: str
    message: str
    until: str = ""
    severity: Severity = Severity.WARNING
    """The severity of the finding on its end: INFO if the entry needs no change."""

    @property
    def finding(self) -> Finding:
        """The finding that the entry is exempt."""
        return Finding(EXEMPTED, Severity.INFO, self.path, self.message)

    def expiry(self, today: str) -> tuple[Finding, ...]:
        """Return the warning that the exemption ends soon, or has ended and the entry was not written since."""
        if not (self.until and today) or days_between(today, self.until) > NOTICE_DAYS:
            return ()
        when = "ends" if today <= self.until else "ended"
        message = f"the exemption {when} on {self.until}; after that day the next write of the entry is reviewed"
        return (Finding(EXEMPTION_ENDS, self.severity, self.path, message),)


def exemption(entry: ServiceEntry, settings: Settings) -> Exemption | None:
    """Return the exemption that applies to an entry."""
    exemptions, namespace = settings.exemptions, entry.key.namespace
    if matches(namespace, exemptions.namespaces):
        return Exemption("metadata.namespace", f"the policy exempts namespace {quoted(namespace)}")
    if _all_hosts(entry, exemptions.hosts):
        return Exemption("spec.hosts", f"the policy exempts {quoted(entry.hosts[0].text)} and all its other hosts")
    if lasting := [item for item in _temporary(entry, exemptions) if entry.written <= item.until]:
        return _of_policy(max(lasting, key=lambda item: item.until), entry)
    return _of_annotation(entry) if EXEMPT in entry.annotations and not _unhonoured(entry, exemptions) else None


def refused_exemption(entry: ServiceEntry, settings: Settings) -> tuple[Finding, ...]:
    """Return the findings on an exemption that has no effect, so that the entry is reviewed."""
    findings: list[Finding] = []
    if over := [item for item in _temporary(entry, settings.exemptions) if entry.written > item.until]:
        last = _of_policy(max(over, key=lambda item: item.until), entry)
        message = f"the policy's exemption of the entry ended on {last.until}, so the entry is reviewed"
        findings.append(Finding(EXEMPTION_ENDS, last.severity, last.path, message))
    if why := _unhonoured(entry, settings.exemptions):
        path = annotation_path(EXEMPT if EXEMPT in entry.annotations else EXEMPT_UNTIL)
        findings.append(Finding(EXEMPTION_REFUSED, Severity.WARNING, path, why))
    return tuple(findings)


def _all_hosts(entry: ServiceEntry, globs: tuple[str, ...]) -> bool:
    return bool(globs and entry.hosts) and all(matches(host.canonical, globs) for host in entry.hosts)


def _temporary(entry: ServiceEntry, exemptions: Exemptions) -> list[Temporary]:
    return [
        item
        for item in exemptions.temporary
        if matches(entry.key.namespace, item.namespaces) and _all_hosts(entry, item.hosts)
    ]


def _of_policy(item: Temporary, entry: ServiceEntry) -> Exemption:
    path = "metadata.namespace" if item.hosts == EVERY else "spec.hosts"
    why = f": {quoted(item.reason)}" if item.reason else ""
    severity = Severity.INFO if entry.resolution in RESOLVING else Severity.WARNING
    return Exemption(path, f"the policy exempts the entry until {item.until}{why}", item.until, severity)


def _of_annotation(entry: ServiceEntry) -> Exemption:
    until = entry.annotations.get(EXEMPT_UNTIL, "")
    end = f" until {until}" if until else ""
    return Exemption(annotation_path(EXEMPT), f"exempt{end}: {quoted(entry.annotations[EXEMPT])}", until)


def _unhonoured(entry: ServiceEntry, exemptions: Exemptions) -> str | None:
    """Say why the annotations do not exempt an entry; None if they do, or if there are none."""
    if EXEMPT not in entry.annotations:
        return f"has no effect without {EXEMPT}" if EXEMPT_UNTIL in entry.annotations else None
    if exemptions.annotation is Permission.FORBID:
        return "has no effect: the policy forbids it"
    reason = entry.annotations[EXEMPT].strip()
    why = _bad_reason(reason, exemptions) or _bad_end(entry, exemptions)
    return f"has no effect: {why}" if why else None


def _bad_reason(reason: str, exemptions: Exemptions) -> str | None:
    if not reason:
        return "it gives no reason"
    if len(reason) < exemptions.min_reason_length:
        return f"its reason has fewer than {exemptions.min_reason_length} characters"
    if len(reason) > LONGEST_REASON:
        return f"its reason has more than {LONGEST_REASON} characters"
    pattern = exemptions.reason_pattern
    if pattern and not pattern.found_in(reason):
        return f"its reason does not match {quoted(pattern.text)}, the pattern of the policy"
    return None


def _bad_end(entry: ServiceEntry, exemptions: Exemptions) -> str | None:
    until, most = entry.annotations.get(EXEMPT_UNTIL), exemptions.max_duration
    if until is None:
        needed = exemptions.require_expiry or most
        return f"the policy requires an end, such as {EXEMPT_UNTIL}: 2027-03-31" if needed else None
    if not is_day(until):
        return f"{EXEMPT_UNTIL} {quoted(until)} is not a day such as 2027-03-31"
    if entry.written > until:
        return f"it ended on {until}"
    if most and entry.written and until > (latest := later(entry.written, most.days)):
        return f"it ends on {until}, and the policy allows {most} at most: {latest}"
    return None
