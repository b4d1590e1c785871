"""The retry settings of one entry: those of the policy, with the overrides of its annotations."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.core.policy.fields import Permission
from app.core.policy.traffic import DurationBounds, VirtualService
from app.core.resources.durations import NO_DEADLINE, Duration, parse_duration, parse_timeout
from app.core.resources.service_entry import PREFIX, Port
from app.core.rules import templates
from app.core.rules.catalogue import OVERRIDE_REFUSED, UNKNOWN_ANNOTATION
from app.core.rules.findings import QUOTED, Finding, Severity, and_more, quoted

EXEMPT = "exempt"
EXEMPT_UNTIL = "exempt-until"
ATTEMPTS = "attempts"
PER_TRY_TIMEOUT = "per-try-timeout"
TIMEOUT = "timeout"
RETRY_ON = "retry-on"
VIRTUAL_SERVICE = "virtual-service"
WRITTEN_BY_US = "service-entry"
DISABLED = "Disabled"
KNOWN = (EXEMPT, EXEMPT_UNTIL, ATTEMPTS, PER_TRY_TIMEOUT, TIMEOUT, RETRY_ON, VIRTUAL_SERVICE)


@dataclass(frozen=True, slots=True)
class Routing:
    """The settings of the routes of one port; None is not written."""

    timeout: Duration | None
    per_try_timeout: Duration | None
    retry_on: tuple[str, ...]
    retry_on_unsafe: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Tuning:
    """The settings of the routes of an entry; `stream_…` is for ports with long calls."""

    emit: bool
    attempts: int
    per_try_timeout: Duration
    timeout: Duration
    stream_per_try_timeout: Duration | None
    stream_timeout: Duration | None
    retry_on: tuple[str, ...]
    retry_on_unsafe: tuple[str, ...] | None
    retry_on_grpc: tuple[str, ...]
    """Additional retry conditions for protocols that may carry gRPC."""
    options: Mapping[str, str | bool]
    """Fields of `retries` that only newer Istio knows."""
    overridden: bool = False
    """Whether an annotation has changed anything."""

    def of(self, port: Port) -> Routing:
        """Return the settings of the routes of a port.

        A gRPC call is always a POST, and Istio retries it by default, so the method split does not apply.
        """
        if port.streams:
            retry_on = _joined(self.retry_on, self.retry_on_grpc)
            return Routing(self.stream_timeout, self.stream_per_try_timeout, retry_on, None)
        grpc = self.retry_on_grpc if port.protocol == "HTTP2" else ()
        unsafe = self.retry_on_unsafe and _joined(self.retry_on_unsafe, grpc)
        return Routing(self.timeout, self.per_try_timeout, _joined(self.retry_on, grpc), unsafe)


def tune(annotations: Mapping[str, str], settings: VirtualService) -> tuple[Tuning, tuple[Finding, ...]]:
    """Apply the annotations of an entry to the policy's settings.

    A rejected annotation becomes a finding and changes nothing.
    """
    tuning, findings = _untuned(settings), list[Finding]()
    for name in sorted(annotations.keys() & _OVERRIDES.keys()):
        try:
            tuning = replace(tuning, overridden=True, **_OVERRIDES[name](annotations[name], settings))
        except ValueError as error:
            message = f"{quoted(annotations[name])} {error}"
            findings.append(Finding(OVERRIDE_REFUSED, Severity.ERROR, annotation_path(name), message))
    return tuning, (*findings, *_unknown(annotations))


def annotation_path(name: str) -> str:
    """Return the field path of one of our annotations."""
    return f'metadata.annotations["{PREFIX}{name}"]'


def _untuned(settings: VirtualService) -> Tuning:
    """Return the policy's settings, cached, because most entries have no override."""
    known = _KNOWN.get(id(settings))
    if known and known[0] is settings:
        return known[1]
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    tuning = _from_policy(settings)
    _KNOWN[id(settings)] = settings, tuning  # id() is unique only while the object exists
    return tuning


_MOST_KNOWN = 64
_KNOWN: dict[int, tuple[VirtualService, Tuning]] = {}


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
        stream_per_try_timeout=settings.grpc.per_try_timeout,
        stream_timeout=settings.grpc.timeout,
        retry_on=retries.retry_on,
        retry_on_unsafe=settings.unsafe_methods.retry_on,
        retry_on_grpc=settings.grpc.retry_on,
        options={name: value for name, value in options.items() if value is not None},
    )


def _joined(words: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    return (*words, *(word for word in others if word not in words))


def _attempts(text: str, settings: VirtualService) -> dict[str, Any]:
    bounds = settings.overrides.attempts
    if bounds is None:
        raise ValueError(templates.FORBIDDEN)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(templates.NOT_WHOLE)
    if not bounds.min <= int(text) <= bounds.max:
        raise ValueError(templates.OUT_OF_BOUNDS.format(least=bounds.min, most=bounds.max))
    return {"attempts": int(text)}


def _per_try_timeout(text: str, settings: VirtualService) -> dict[str, Any]:
    duration = _bounded(text, settings.overrides.per_try_timeout, parse_duration)
    return {"per_try_timeout": duration, "stream_per_try_timeout": duration}


def _timeout(text: str, settings: VirtualService) -> dict[str, Any]:
    bounds = settings.overrides.timeout
    if bounds and text == NO_DEADLINE.text:
        if bounds.no_deadline is Permission.FORBID:
            raise ValueError(templates.NO_DEADLINE_FORBIDDEN)
        return {"timeout": NO_DEADLINE, "stream_timeout": NO_DEADLINE}
    duration = _bounded(text, bounds, parse_timeout)
    return {"timeout": duration, "stream_timeout": duration}


def _bounded(text: str, bounds: DurationBounds | None, parse: Callable[[object], Duration]) -> Duration:
    if bounds is None:
        raise ValueError(templates.FORBIDDEN)
    duration = parse(text)
    if not bounds.min <= duration <= bounds.max:
        raise ValueError(templates.OUT_OF_BOUNDS.format(least=bounds.min, most=bounds.max))
    return duration


def _retry_on(text: str, settings: VirtualService) -> dict[str, Any]:
    granted = settings.overrides.retry_on
    if granted is None:
        raise ValueError(templates.FORBIDDEN)
    words = tuple(word.strip() for word in text.split(","))
    refused = [word for word in words if word not in granted]
    if refused:
        raise ValueError(templates.NOT_GRANTED.format(word=quoted(refused[0]), granted=", ".join(granted)))
    return {"retry_on": words, "retry_on_grpc": ()}


def _virtual_service(text: str, settings: VirtualService) -> dict[str, Any]:
    if settings.overrides.virtual_service is Permission.FORBID:
        raise ValueError(templates.FORBIDDEN)
    if text != DISABLED:
        raise ValueError(templates.NOT_DISABLED)
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
    message = f"{quoted(PREFIX + unknown[0])} is unknown: {hint}"
    return (Finding(UNKNOWN_ANNOTATION, Severity.WARNING, "metadata.annotations", and_more(message, len(unknown))),)
