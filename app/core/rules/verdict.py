"""The verdict on one ServiceEntry: the function that the webhook, the controller and the command line share."""

from collections.abc import Callable, Iterable

from app.core.policy.model import Existing, GuardPolicy, Mode, Settings
from app.core.resources.fields import JSON, Fields
from app.core.resources.records import Record, replace
from app.core.resources.service_entry import ServiceEntry, own_annotations
from app.core.rules import resolution, templates
from app.core.rules.bypasses import exported_to_all, mesh_internal, short_service_names
from app.core.rules.catalogue import NOT_MUTATED, RESOLUTION_CHANGED, UNFIXABLE
from app.core.rules.exemptions import exemption, refused_exemption
from app.core.rules.findings import Finding, Severity
from app.core.rules.overrides import tune
from app.core.rules.ownership import owned_by_others
from app.core.rules.patch import Operation, set_resolution
from app.core.rules.retries import retry_findings
from app.core.rules.waypoint_findings import waypoint_findings

WARNING_LIMIT = 256
"""Kubernetes may cut longer warnings (KEP-1693)."""


class Verdict(Record):
    """Findings on one entry, and the JSON Patch that repairs it (empty if nothing changes)."""

    findings: tuple[Finding, ...] = ()
    patch: tuple[Operation, ...] = ()
    exempt_until: str = ""
    """The last day of the entry's exemption; "" if there is none, or if it has no end."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that reject the entry."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.ERROR)

    @property
    def unfixable(self) -> tuple[Finding, ...]:
        """The findings that make the entry unfixable, whether or not they reject it."""
        return tuple(
            finding for finding in self.findings if finding.rule in UNFIXABLE and finding.severity is not Severity.INFO
        )

    @property
    def allowed(self) -> bool:
        """Whether the entry may be stored."""
        return not _rejecting(self.findings)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all findings, in order, each once."""
        return tuple(dict.fromkeys([finding.rule.code for finding in self.findings]))

    @property
    def denial(self) -> str:
        """The message to the author of a rejected entry: one line for each reason, with its remedy."""
        return "\n".join(finding.advice for finding in self.errors)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warning lines at admission. If the entry is changed, they include the notes."""
        shown = (Severity.WARNING, Severity.INFO) if self.patch else (Severity.WARNING,)
        return tuple([_cut(finding.sentence) for finding in self.findings if finding.severity in shown])


Judge = Callable[[ServiceEntry, GuardPolicy], Verdict]
"""A function like `review`."""
Led = Callable[[ServiceEntry, str], bool]


def review(entry: ServiceEntry, policy: GuardPolicy) -> Verdict:
    """Review an entry as it was written. Every entry gets a verdict; this never raises."""
    return _review(entry, policy.settings(entry.key.namespace), policy.today)


def review_update(entry: ServiceEntry, old: JSON, new: JSON, policy: GuardPolicy) -> Verdict:
    """Review an update from manifest `old` to `new`, which `entry` is parsed from.

    An update that changes neither spec nor our annotations is never rejected or changed, because controllers must be
    able to remove finalizers and labels. It is reviewed as in mode Warn.
    """
    settings = policy.settings(entry.key.namespace)
    untouched = _touched_part(old) == _touched_part(new)
    if untouched and settings.mode is Mode.ENFORCE:
        settings = settings.in_mode(Mode.WARN)
    return _review(entry, settings, policy.today)


def remediation(
    entry: ServiceEntry, policy: GuardPolicy, judge: Judge = review, led: Led = lambda _entry, _target: False
) -> tuple[Operation, ...]:
    """Return the patch for a stored entry that admission never saw; empty if the policy only reports.

    `judge` is `review`, or a cache of it; `led` says whether a sibling already has the resolution that this entry
    would get.
    """
    existing = policy.settings(entry.key.namespace).existing
    if existing is Existing.REPORT or entry.terminating:
        return ()
    patch = judge(entry, policy).patch
    return patch if patch and (existing is Existing.REMEDIATE or led(entry, patch[0]["value"])) else ()


def as_stored(verdict: Verdict) -> Verdict:
    """Review an entry that is about to be stored: it is rejected if mutation should have patched it and did not."""
    if not verdict.patch:
        return verdict
    message = templates.NOT_MUTATED.format(target=verdict.patch[0]["value"])
    refusal = Finding(NOT_MUTATED, Severity.ERROR, "spec.resolution", message)
    return Verdict((*(finding for finding in verdict.findings if finding.rule is not RESOLUTION_CHANGED), refusal))


def _review(entry: ServiceEntry, settings: Settings, today: str) -> Verdict:
    if not resolution.looked_at(entry, settings):
        return Verdict()
    owned = owned_by_others(entry, settings)
    if entry.location not in settings.scope.locations:
        beyond = (*mesh_internal(entry, settings), *short_service_names(entry))
        return _soften(Verdict((*owned, *(beyond if entry.location == "MESH_INTERNAL" else ()))), settings)
    if broken := resolution.malformed(entry):
        return _soften(Verdict((broken,)), settings)
    if found := exemption(entry, settings):
        return _soften(Verdict((found.finding, *found.expiry(today), *owned), exempt_until=found.until), settings)
    return _soften(_judge(entry, settings, owned), settings)


def _judge(entry: ServiceEntry, settings: Settings, owned: tuple[Finding, ...]) -> Verdict:
    decision = resolution.decide(entry, settings)
    tuning, refused = tune(entry.annotations, settings.virtual_service)
    stored = decision.resolution or entry.resolution
    findings = (
        *refused_exemption(entry, settings),
        *decision.findings,
        *refused,
        *owned,
        *exported_to_all(entry, settings),
        *short_service_names(entry),
        *retry_findings(entry, stored, tuning, settings.scope.cluster_domains),
        *waypoint_findings(entry, stored),
    )
    if decision.resolution is None or _rejecting(findings):
        return Verdict(findings)
    return Verdict(findings, set_resolution(decision.resolution, present=entry.resolution_set))


def _rejecting(findings: Iterable[Finding]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)


def _soften(verdict: Verdict, settings: Settings) -> Verdict:
    """Turn errors into warnings in mode Warn."""
    if settings.mode is Mode.ENFORCE:
        return verdict
    softened = (
        replace(finding, severity=Severity.WARNING) if finding.severity is Severity.ERROR else finding
        for finding in verdict.findings
    )
    return replace(verdict, findings=tuple(softened), patch=())


def _touched_part(manifest: JSON) -> JSON:
    root = Fields(manifest, "")
    return root.values.get("spec"), own_annotations(root.child("metadata"))


def _cut(warning: str) -> str:
    """Shorten a warning to the limit, which counts bytes of UTF-8."""
    encoded = warning.encode()
    if len(encoded) <= WARNING_LIMIT:
        return warning
    return encoded[: WARNING_LIMIT - 3].decode(errors="ignore") + "…"
