"""Lint a valid policy: settings that contradict each other.

These are the findings of `serviceentry-guard policy check`.
"""

from collections.abc import Iterable, Iterator
from http import HTTPStatus

from app.core.policy.model import GuardPolicy, Settings
from app.core.policy.tenancy import Exemptions, Owner
from app.core.policy.traffic import RETRY_CONDITIONS
from app.core.resources.days import later
from app.core.resources.fields import JSON
from app.core.resources.globs import covers_glob
from app.core.resources.hosts import covers
from app.core.rules.findings import Finding, Rule, Severity, quoted
from app.core.rules.policy_catalogue import (
    EMPTY_DESTINATION_RULE,
    EXEMPTION_OVER,
    EXEMPTION_TOO_LONG,
    EXEMPTION_WITHOUT_END,
    RETRIES_OFF,
    TIMEOUT_TOO_SHORT,
    UNKNOWN_RETRY_CONDITION,
    UNREACHABLE_NAMESPACES,
    UNREACHABLE_OWNER,
)

RETRY_STATUS_CODES = frozenset(str(status.value) for status in HTTPStatus)
"""The HTTP status codes that Istio accepts in retryOn besides RETRY_CONDITIONS: those that have a name."""
Hit = tuple[Rule, str, str]
"""A rule, the field below the layer, and the message."""


def lint(policy: GuardPolicy) -> tuple[Finding, ...]:
    """Return the findings on a policy, each with its path in the file.

    A finding that holds for all layers appears once.
    """
    for_all = tuple(_of_result(policy, policy.today))
    found = [*_unreachable(policy)]
    for (path, written, settings), document in zip(policy.layers(), policy.written, strict=True):
        result = (hit for hit in _of_result(settings, policy.today) if not path or hit not in for_all)
        hits = (*result, *_conditions(written), *_retries_off(document, settings))
        found.extend(Finding(rule, Severity.WARNING, path + field, message) for rule, field, message in hits)
    return tuple(found)


def _of_result(settings: Settings, today: str) -> Iterator[Hit]:
    """Check the settings of one layer, merged with those of the policy."""
    yield from _exemptions(settings.exemptions, today)
    yield from _owners(settings.hosts.owners)
    emitted, rule = settings.virtual_service, settings.destination_rule
    attempts, per_try = emitted.retries.attempts, emitted.retries.per_try_timeout
    deadline = emitted.timeout.milliseconds
    if attempts and 0 < deadline < (attempts + 1) * per_try.milliseconds:
        message = f"{emitted.timeout} ends before the last of {attempts + 1} tries of {per_try} each"
        yield TIMEOUT_TOO_SHORT, "virtualService.timeout", message
    fields = (value for part in (rule.connection_pool.http, rule.connection_pool.tcp) for value in vars(part).values())
    if rule.enabled and not rule.tls_origination and all(value is None for value in fields):
        yield EMPTY_DESTINATION_RULE, "destinationRule.enabled", "every field of connectionPool is null"


def _exemptions(exemptions: Exemptions, today: str) -> Iterator[Hit]:
    for field, globs in (("hosts", exemptions.hosts), ("namespaces", exemptions.namespaces)):
        if globs and exemptions.require_expiry:
            message = f"{quoted(globs[0])} is exempt without an end, and requireExpiry is true"
            yield EXEMPTION_WITHOUT_END, f"exemptions.{field}", message
    most = exemptions.max_duration
    for index, item in enumerate(exemptions.temporary if today else ()):
        path = f"exemptions.temporary[{index}].until"
        if item.until < today:
            yield EXEMPTION_OVER, path, f"the exemption ended on {item.until}"
        if most and item.until > (latest := later(today, most.days)):
            yield EXEMPTION_TOO_LONG, path, f"{item.until} is after {latest}, the last day within {most}"


def _owners(owners: Iterable[Owner]) -> Iterator[Hit]:
    earlier: list[str] = []
    for index, owner in enumerate(owners):
        if all(any(covers(wide, pattern) for wide in earlier) for pattern in owner.match):
            message = f"is never used: earlier items match all that {quoted(', '.join(owner.match))} matches"
            yield UNREACHABLE_OWNER, f"hosts.owners[{index}].match", message
        earlier.extend(owner.match)


def _conditions(written: Settings) -> Iterator[Hit]:
    emitted = written.virtual_service
    for field, words in (
        ("retries.retryOn", emitted.retries.retry_on),
        ("unsafeMethods.retryOn", emitted.unsafe_methods.retry_on),
        ("grpc.retryOn", emitted.grpc.retry_on),
        ("overrides.retryOn", emitted.overrides.retry_on),
    ):
        for index, word in enumerate(words or ()):
            if word not in RETRY_CONDITIONS and word not in RETRY_STATUS_CODES:
                message = f"Istio does not know {quoted(word)}"
                yield UNKNOWN_RETRY_CONDITION, f"virtualService.{field}[{index}]", message


def _retries_off(document: JSON, settings: Settings) -> Iterator[Hit]:
    retries = document.get("virtualService", {}).get("retries", {})
    bounds = settings.virtual_service.overrides.attempts
    if retries.get("attempts") == 0 and len(retries) > 1 and (bounds is None or not bounds.max):
        message = "0 turns retries off, so the other settings of retries have no effect"
        yield RETRIES_OFF, "virtualService.retries.attempts", message


def _unreachable(policy: GuardPolicy) -> Iterator[Finding]:
    earlier: list[str] = []
    for index, entry in enumerate(policy.namespaces):
        if all(any(covers_glob(wide, glob) for wide in earlier) for glob in entry.match):
            message = f"is never used: earlier items match all that {quoted(', '.join(entry.match))} matches"
            yield Finding(UNREACHABLE_NAMESPACES, Severity.WARNING, f"namespaces[{index}].match", message)
        earlier.extend(entry.match)
