"""What is wrong with an installation, and what to do about it: pure functions of what was seen.

The best evidence is the API server's own words about a call that failed.
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
    """What became of a check."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found in a sentence, and what to do where that is not well.

    `essential` is what has to be known: without it nobody can say that the guard works.
    """

    state: State
    sentence: str
    remedy: str = ""
    essential: bool = False


OUTDATED = timedelta(minutes=1)
"""After this time a Lease that is not renewed is held by nobody; more than any that is, whatever clocks say."""
_CALL_FAILED = re.compile(r'failed calling webhook "(?P<webhook>[^"]+)": (?P<why>.*)', re.DOTALL)
_DENIED = re.compile(r'admission webhook "(?P<webhook>[^"]+)" denied the request(?:: (?P<why>.*))?', re.DOTALL)
_POLICY_DENIED = re.compile(r"ValidatingAdmissionPolicy '(?P<policy>[^']+)' with binding .* denied request", re.DOTALL)
_NO_RIGHT = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource')


@dataclass(frozen=True, slots=True)
class DryRun:
    """What became of a dry run: an entry that would be stored, or an error of the API server's.

    `status` is the HTTP status (201 where it would be stored, 0 without an answer).
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
    """What the dry runs are judged by: names of our webhooks and policies, and the name that ours are called by."""

    webhooks: Collection[str]
    repairs: bool = False
    """Whether a MutatingAdmissionPolicy of ours is in force."""
    called: str = ""
    namespace: str = "default"


POLICIES = frozenset({REFUSE, WARN})
_SILENT = (
    "See the findings above; else whether the policy of the webhook excludes namespace {namespace} or is Off, "
    "and whether namespaceSelector and matchConditions of the configuration leave this entry out."
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
            "resolution NONE becomes DNS, but something other than the guard does it",
            "See which other mutating webhook or policy changes ServiceEntries; the guard's own is not asked.",
        )
    if seen.stored and seen.warned:
        return Check(State.OK, "the guard answers, and changes nothing: its policy only warns here", essential=True)
    if seen.stored:
        return _problem(
            "an entry that has to be changed would be stored as it is", _SILENT.format(namespace=around.namespace)
        )
    return _problem(
        "an entry that has to be changed is refused: mutation does not happen, validation does",
        "The mutating webhook fails, or is not asked: see the findings above. " + Cause.OTHER.remedy(""),
        seen.message,
    )


def judge_refusal(seen: DryRun, around: Surroundings) -> Check:
    """Judge the dry run of an entry that has to be refused."""
    if trouble := _trouble(seen, around):
        return trouble
    if seen.stored and seen.warned:
        return Check(State.OK, "the guard answers, and refuses nothing: its policy only warns here", essential=True)
    if seen.stored:
        return _problem("an entry that has to be refused would be stored", _SILENT.format(namespace=around.namespace))
    if denied := _DENIED.search(seen.message):
        return Check(State.OK, f"webhook {denied['webhook']} refuses what cannot be repaired", essential=True)
    if around.webhooks and not around.repairs:
        return _problem(
            "an entry that has to be refused is refused by the backstop alone: the webhooks are not asked",
            "The backstop does its work; see the findings above for what the webhooks lack.",
        )
    return Check(State.OK, "the ValidatingAdmissionPolicy refuses what cannot be repaired", essential=True)


def judge_connection(address: str, name: str, trouble: Trouble | None, message: str) -> Check:
    """Judge a connection of our own under the live caBundle; `trouble` None: it was good."""
    if trouble is None:
        return Check(State.OK, f"a fresh connection to {address} is good under the live caBundle")
    if cause := CAUSES.get(trouble):
        return _problem(f"a fresh connection to {address} fails: {cause.words}", cause.remedy(name), message, False)
    return Check(
        State.UNKNOWN,
        f"no fresh connection to {address} from here ({message}): the API server's own may be old ones",
        "Run doctor inside the cluster (helm test does), or forward a port to a webhook pod and give --connect.",
    )


def judge_lease(lease: Mapping[str, Any], now: datetime) -> Check | None:
    """Judge the Lease of another installation; None where nobody renews it."""
    spec, place = lease.get("spec") or {}, lease["metadata"]
    holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
    if not holder or not renewed or now - datetime.fromisoformat(renewed) > OUTDATED:
        return None
    said = f"another installation leads: Lease {place['namespace']}/{place['name']} is held by {holder}"
    return Check(State.PROBLEM, said, "Uninstall one of the two: the one that came later does nothing meanwhile.")


def exit_code(findings: Collection[Check]) -> int:
    """0 where the guard works, 1 where it does not, 2 where nobody can say."""
    if any(one.state is State.PROBLEM for one in findings):
        return 1
    return 2 if any(one.essential and one.state is State.UNKNOWN for one in findings) else 0


def _trouble(seen: DryRun, around: Surroundings) -> Check | None:
    """Return what kept a dry run from coming to a verdict of the guard's; None where there is one."""
    if failed := _CALL_FAILED.search(seen.message):
        return _failed_call(failed["webhook"], failed["why"], around)
    if right := _NO_RIGHT.search(seen.message):
        return _unknown(
            f'"{right["user"]}" may not {right["verb"]} ServiceEntries in namespace {around.namespace}: no dry run',
            "Run doctor as somebody who may, or name another namespace with --probe-namespace.",
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
        f"{who}, which is not the guard's, refuses the dry run",
        "Name a namespace with --probe-namespace in which it lets a ServiceEntry be.",
        message,
    )


def _no_verdict(seen: DryRun) -> Check:
    if seen.status == 404:
        return _unknown(
            "the API server knows no ServiceEntries, or not the namespace: no dry run",
            "Install Istio's CRDs; or name a namespace with --probe-namespace.",
            seen.message,
        )
    if seen.status == 401:
        return _unknown(
            "the API server does not know who asks", "Renew the credentials of the kubeconfig.", seen.message
        )
    if not seen.status:
        return _unknown(
            "the API server cannot be reached", "Try `kubectl version` with the same kubeconfig.", seen.message
        )
    return _unknown("the API server does not take the dry run", "The message says why.", seen.message)


def _problem(sentence: str, remedy: str, message: str = "", essential: bool = True) -> Check:
    return Check(State.PROBLEM, _quoting(sentence, message), remedy, essential)


def _unknown(sentence: str, remedy: str, message: str = "") -> Check:
    return Check(State.UNKNOWN, _quoting(sentence, message), remedy, essential=True)


def _quoting(sentence: str, message: str) -> str:
    return f"{sentence} ({' '.join(message.split())[:400]})" if message else sentence
