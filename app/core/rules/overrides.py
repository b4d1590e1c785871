"""The retry settings of one entry: those of the policy, with the overrides of its annotations."""

from collections.abc import Mapping

from app.core.policy.traffic import Overrides, VirtualService
from app.core.resources.durations import Duration
from app.core.resources.records import Record, replace
from app.core.resources.service_entry import PREFIX, Port
from app.core.rules.annotations import (
    ATTEMPTS,
    OVERRIDES,
    PER_TRY_TIMEOUT,
    RETRY_ON,
    TIMEOUT,
    VIRTUAL_SERVICE,
    Override,
)
from app.core.rules.catalogue import OVERRIDE_REFUSED, UNKNOWN_ANNOTATION
from app.core.rules.findings import QUOTED, Finding, Severity, and_more, quoted

EXEMPT = "exempt"
EXEMPT_UNTIL = "exempt-until"
WRITTEN_BY_US = "service-entry"
KNOWN = (EXEMPT, EXEMPT_UNTIL, ATTEMPTS, PER_TRY_TIMEOUT, TIMEOUT, RETRY_ON, VIRTUAL_SERVICE)


class Routing(Record):
    """The settings of the routes of one port; None is not written."""

    timeout: Duration | None
    per_try_timeout: Duration | None
    retry_on: tuple[str, ...]
    retry_on_unsafe: tuple[str, ...] | None


class Tuning(Record):
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
    tuning = _untuned(settings)
    if not annotations:
        return tuning, ()
    findings: list[Finding] = []
    for name in sorted(annotations.keys() & _ROWS.keys()):
        row, text = _ROWS[name], annotations[name]
        if message := _problem(row, text, settings.overrides):
            path = annotation_path(name)
            findings.append(Finding(OVERRIDE_REFUSED, Severity.ERROR, path, f"{quoted(text)} {message}"))
        else:
            tuning = replace(tuning, overridden=True, **row.sets(text))
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


_ROWS = {row.name: row for row in OVERRIDES}


def _problem(row: Override, text: str, overrides: Overrides) -> str | None:
    """Return what is wrong with the value of an annotation, None if it is valid."""
    problem = row.problem(text, overrides)
    if problem is None:
        return None
    template, bounds = problem
    shown = {name: ", ".join(value) if isinstance(value, tuple) else str(value) for name, value in bounds.items()}
    word = quoted(row.quoted(text, row.allowed(overrides))) if bounds else ""
    message: str = template.format(word=word, **shown)
    return message


def _unknown(annotations: Mapping[str, str]) -> tuple[Finding, ...]:
    unknown = sorted(annotations.keys() - {*KNOWN, WRITTEN_BY_US})
    if not unknown:
        return ()
    import difflib  # noqa: PLC0415 - it takes longer to import than to review an entry, and few have a typo

    near = difflib.get_close_matches(unknown[0][:QUOTED], KNOWN, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the annotations are {', '.join(KNOWN)}"
    message = f"{quoted(PREFIX + unknown[0])} is unknown: {hint}"
    return (Finding(UNKNOWN_ANNOTATION, Severity.WARNING, "metadata.annotations", and_more(message, len(unknown))),)
