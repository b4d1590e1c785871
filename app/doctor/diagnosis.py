"""Diagnosis of an installation: pure functions from observations to findings with a remedy.

The best evidence is the API server's error message about a call that failed.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from app.certificates.probe import Trouble
from app.core.cel.admission_policy import REFUSE, WARN
from app.doctor.causes import CAUSES, Cause, classify


class State(Enum):
    """The result of a check."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check: a sentence, and a remedy if something is wrong.

    Without the result of an `essential` check, doctor cannot say whether the guard works.
    """

    state: State
    sentence: str
    remedy: str = ""
    essential: bool = False


OUTDATED = timedelta(minutes=1)
"""A Lease that was not renewed for this long has no holder.

Far longer than a renewal interval, so clocks may differ.
"""
_CALL_FAILED = re.compile(r'failed calling webhook "(?P<webhook>[^"]+)": (?P<why>.*)', re.DOTALL)
_DENIED = re.compile(r'admission webhook "(?P<webhook>[^"]+)" denied the request(?:: (?P<why>.*))?', re.DOTALL)
_POLICY_DENIED = re.compile(r"ValidatingAdmissionPolicy '(?P<policy>[^']+)' with binding .* denied request", re.DOTALL)
_NO_RIGHT = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource')


@dataclass(frozen=True, slots=True)
class DryRun:
    """The result of a dry run: an entry that would be stored, or an error of the API server.

    `status` is the HTTP status (201: the entry would be stored, 0: no response).
    """

    status: int
    resolution: str = ""
    warnings: tuple[str, ...] = ()
    message: str = ""

    @property
    def stored(self) -> bool:
        return self.status == 201

    @property
    def warned(self) -> bool:
        """Whether one of the warnings is the guard's."""
        return any(re.search(r"\bSEG\d{3}\b", warning) for warning in self.warnings)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The names of the guard's webhooks, and the DNS name that the API server calls them by."""

    webhooks: Collection[str]
    repairs: bool = False
    """Whether a MutatingAdmissionPolicy of ours is in force."""
    called: str = ""
    namespace: str = "default"


POLICIES = frozenset({REFUSE, WARN})
_ONLY_WARNS = "the guard answers with a warning only: its policy has mode Warn here"
_SILENT = (
    "See the findings above. If there is none, check that the policy does not exclude namespace {namespace} and is "
    "not Off, and that namespaceSelector and matchConditions of the webhook configuration match this entry."
)


def judge_change(seen: DryRun, around: Surroundings) -> Check:
    """Judge the dry run of an entry that has to be changed."""
    if trouble := _trouble(seen, around):
        return trouble
    if seen.stored and seen.resolution == "DNS":
        if seen.warned or around.repairs:
            by = "the webhook" if seen.warned else "the MutatingAdmissionPolicy"
            return Check(State.OK, f"{by} turns resolution NONE into DNS", essential=True)
        return _problem(
            "resolution NONE becomes DNS, but not by the guard",
            "Find the other mutating webhook or policy that changes ServiceEntries; the API server does not call the "
            "guard's webhook.",
        )
    if seen.stored and seen.warned:
        return Check(State.OK, _ONLY_WARNS, essential=True)
    if seen.stored:
        return _problem(
            "an entry with resolution NONE would be stored unchanged", _SILENT.format(namespace=around.namespace)
        )
    return _problem(
        "an entry with resolution NONE is rejected: the mutating webhook does not act, the validating one does",
        "The mutating webhook fails, or the API server does not call it: see the findings above. "
        + Cause.OTHER.remedy(""),
        seen.message,
    )


def judge_refusal(seen: DryRun, around: Surroundings) -> Check:
    """Judge the dry run of an entry that has to be refused."""
    if trouble := _trouble(seen, around):
        return trouble
    if seen.stored and seen.warned:
        return Check(State.OK, _ONLY_WARNS, essential=True)
    if seen.stored:
        return _problem("an entry with a CIDR address would be stored", _SILENT.format(namespace=around.namespace))
    if denied := _DENIED.search(seen.message):
        return Check(State.OK, f"webhook {denied['webhook']} rejects what cannot be repaired", essential=True)
    if around.webhooks and not around.repairs:
        return _problem(
            "an entry with a CIDR address is rejected by the backstop only: the API server does not call the webhooks",
            "The backstop works; the findings above say what is wrong with the webhooks.",
        )
    return Check(State.OK, "the ValidatingAdmissionPolicy rejects an entry that cannot be repaired", essential=True)


def judge_connection(address: str, name: str, trouble: Trouble | None, message: str) -> Check:
    """Judge a connection of doctor's own with the current caBundle; `trouble` None: it succeeded."""
    if trouble is None:
        return Check(State.OK, f"a new connection to {address} succeeds with the current caBundle")
    if cause := CAUSES.get(trouble):
        return _problem(f"a new connection to {address} fails: {cause.words}", cause.remedy(name), message, False)
    return Check(
        State.UNKNOWN,
        f"cannot connect to {address} from here ({message}), so the current caBundle is not verified",
        "Run doctor inside the cluster (helm test does), or forward a port to a webhook pod and pass it with "
        "--connect.",
    )


def judge_lease(lease: Mapping[str, Any], now: datetime) -> Check | None:
    """Judge the Lease of another installation; None if it is not renewed any more."""
    spec, place = lease.get("spec") or {}, lease["metadata"]
    holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
    if not holder or not renewed or now - datetime.fromisoformat(renewed) > OUTDATED:
        return None
    said = f"another installation leads: Lease {place['namespace']}/{place['name']} is held by {holder}"
    return Check(State.PROBLEM, said, "Uninstall one of the two. Until then, the newer one writes nothing.")


def exit_code(findings: Collection[Check]) -> int:
    """Return 0 if the guard works, 1 if it does not, 2 if doctor could not find out."""
    if any(finding.state is State.PROBLEM for finding in findings):
        return 1
    return 2 if any(finding.essential and finding.state is State.UNKNOWN for finding in findings) else 0


def _trouble(seen: DryRun, around: Surroundings) -> Check | None:
    """Return the reason why a dry run shows no verdict of the guard; None if it shows one."""
    if failed := _CALL_FAILED.search(seen.message):
        return _failed_call(failed["webhook"], failed["why"], around)
    if right := _NO_RIGHT.search(seen.message):
        return _unknown(
            f'no dry run: "{right["user"]}" may not {right["verb"]} ServiceEntries in namespace {around.namespace}',
            "Run doctor with credentials that have this permission, or name another namespace with --probe-namespace.",
        )
    if denied := _DENIED.search(seen.message):
        return None if denied["webhook"] in around.webhooks else _stranger(f"webhook {denied['webhook']}", seen.message)
    if policy := _POLICY_DENIED.search(seen.message):
        return None if policy["policy"] in POLICIES else _stranger(f"policy {policy['policy']}", seen.message)
    return None if seen.stored else _no_verdict(seen)


def _failed_call(webhook: str, why: str, around: Surroundings) -> Check:
    cause = classify(why)
    whose = "webhook" if webhook in around.webhooks or not around.webhooks else "another product's webhook"
    return _problem(f"{whose} {webhook}: {cause.words}", cause.remedy(around.called), why)


def _stranger(who: str, message: str) -> Check:
    return _unknown(
        f"{who}, which does not belong to the guard, rejects the dry run",
        "Name a namespace with --probe-namespace in which it accepts ServiceEntries.",
        message,
    )


def _no_verdict(seen: DryRun) -> Check:
    if seen.status == 404:
        return _unknown(
            "ServiceEntry or the namespace not found (404), so there was no dry run",
            "Install Istio's CRDs; or name a namespace with --probe-namespace.",
            seen.message,
        )
    if seen.status == 401:
        return _unknown("authentication failed (401)", "Renew the credentials of the kubeconfig.", seen.message)
    if not seen.status:
        return _unknown(
            "the API server cannot be reached", "Try `kubectl version` with the same kubeconfig.", seen.message
        )
    return _unknown("the API server rejects the dry run", "The message says why.", seen.message)


def _problem(sentence: str, remedy: str, message: str = "", essential: bool = True) -> Check:
    return Check(State.PROBLEM, _quoting(sentence, message), remedy, essential)


def _unknown(sentence: str, remedy: str, message: str = "") -> Check:
    return Check(State.UNKNOWN, _quoting(sentence, message), remedy, essential=True)


def _quoting(sentence: str, message: str) -> str:
    return f"{sentence} ({' '.join(message.split())[:400]})" if message else sentence
