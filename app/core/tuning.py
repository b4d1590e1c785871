"""How one entry's VirtualServices retry: the policy's settings, with the annotations that it grants laid over them."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.core import sentences
from app.core.catalogue import OVERRIDE_REFUSED, UNKNOWN_ANNOTATION
from app.core.durations import Duration, parse_duration
from app.core.emission import DurationBounds, VirtualService
from app.core.findings import QUOTED, Finding, Severity, and_more, quoted
from app.core.model import Permission
from app.core.resources import PREFIX

EXEMPT = "exempt"
ATTEMPTS = "attempts"
PER_TRY_TIMEOUT = "per-try-timeout"
TIMEOUT = "timeout"
RETRY_ON = "retry-on"
VIRTUAL_SERVICE = "virtual-service"
WRITTEN_BY_US = "service-entry"
DISABLED = "Disabled"
KNOWN = (EXEMPT, ATTEMPTS, PER_TRY_TIMEOUT, TIMEOUT, RETRY_ON, VIRTUAL_SERVICE)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What each route of an entry is emitted with."""

    emit: bool
    attempts: int
    per_try_timeout: Duration
    timeout: Duration
    retry_on: tuple[str, ...]
    retry_on_unsafe: tuple[str, ...] | None
    options: Mapping[str, str | bool]
    """Fields of `retries` that only newer Istio knows, as they are written."""


def tune(annotations: Mapping[str, str], settings: VirtualService) -> tuple[Tuning, tuple[Finding, ...]]:
    """Lay an entry's annotations over the policy; what is refused becomes a finding and changes nothing."""
    tuning, findings = _from_policy(settings), list[Finding]()
    for name in sorted(annotations.keys() & _OVERRIDES.keys()):
        try:
            tuning = replace(tuning, **_OVERRIDES[name](annotations[name], settings))
        except ValueError as error:
            message = f"{quoted(annotations[name])} {error}"
            findings.append(Finding(OVERRIDE_REFUSED, Severity.ERROR, annotation_path(name), message))
    return tuning, (*findings, *_unknown(annotations))


def annotation_path(name: str) -> str:
    """Return the field path of one of our annotations."""
    return f'metadata.annotations["{PREFIX}{name}"]'


def _from_policy(settings: VirtualService) -> Tuning:
    retries = settings.retries
    options = {
        "backoff": str(retries.backoff) if retries.backoff else None,
        "retryIgnorePreviousHosts": retries.retry_ignore_previous_hosts,
        "retryRemoteLocalities": retries.retry_remote_localities,
    }
    return Tuning(
        emit=settings.enabled,
        attempts=retries.attempts,
        per_try_timeout=retries.per_try_timeout,
        timeout=settings.timeout,
        retry_on=retries.retry_on,
        retry_on_unsafe=settings.unsafe_methods.retry_on,
        options={name: value for name, value in options.items() if value is not None},
    )


def _attempts(text: str, settings: VirtualService) -> dict[str, Any]:
    bounds = settings.overrides.attempts
    if bounds is None:
        raise ValueError(sentences.FORBIDDEN)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(sentences.NOT_WHOLE)
    if not bounds.min <= int(text) <= bounds.max:
        raise ValueError(sentences.OUT_OF_BOUNDS.format(least=bounds.min, most=bounds.max))
    return {"attempts": int(text)}


def _per_try_timeout(text: str, settings: VirtualService) -> dict[str, Any]:
    return {"per_try_timeout": _bounded(text, settings.overrides.per_try_timeout)}


def _timeout(text: str, settings: VirtualService) -> dict[str, Any]:
    return {"timeout": _bounded(text, settings.overrides.timeout)}


def _bounded(text: str, bounds: DurationBounds | None) -> Duration:
    if bounds is None:
        raise ValueError(sentences.FORBIDDEN)
    duration = parse_duration(text)
    if not bounds.min <= duration <= bounds.max:
        raise ValueError(sentences.OUT_OF_BOUNDS.format(least=bounds.min, most=bounds.max))
    return duration


def _retry_on(text: str, settings: VirtualService) -> dict[str, Any]:
    granted = settings.overrides.retry_on
    if granted is None:
        raise ValueError(sentences.FORBIDDEN)
    words = tuple(word.strip() for word in text.split(","))
    refused = [word for word in words if word not in granted]
    if refused:
        raise ValueError(sentences.NOT_GRANTED.format(word=quoted(refused[0]), granted=", ".join(granted)))
    return {"retry_on": words}


def _virtual_service(text: str, settings: VirtualService) -> dict[str, Any]:
    if settings.overrides.virtual_service is Permission.FORBID:
        raise ValueError(sentences.FORBIDDEN)
    if text != DISABLED:
        raise ValueError(sentences.NOT_DISABLED)
    return {"emit": False}


_OVERRIDES: Mapping[str, Callable[[str, VirtualService], dict[str, Any]]] = {
    ATTEMPTS: _attempts,
    PER_TRY_TIMEOUT: _per_try_timeout,
    TIMEOUT: _timeout,
    RETRY_ON: _retry_on,
    VIRTUAL_SERVICE: _virtual_service,
}


def _unknown(annotations: Mapping[str, str]) -> tuple[Finding, ...]:
    unknown = sorted(annotations.keys() - {*KNOWN, WRITTEN_BY_US})
    if not unknown:
        return ()
    near = difflib.get_close_matches(unknown[0][:QUOTED], KNOWN, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the annotations are {', '.join(KNOWN)}"
    message = f"{quoted(PREFIX + unknown[0])} means nothing: {hint}"
    return (Finding(UNKNOWN_ANNOTATION, Severity.WARNING, "metadata.annotations", and_more(message, len(unknown))),)
