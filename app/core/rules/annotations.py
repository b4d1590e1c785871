"""The annotations that override the policy for one entry: a table with one row for each annotation.

A row says what the policy allows, which values are invalid, and what a valid value sets. Each check has its predicate
twice, in Python for the core and in CEL for the API server, and one template for the message. `overrides` reads the
table, and so does `cel.overrides`. The tests compare both languages on a real API server.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from app.core.policy.fields import Permission
from app.core.policy.traffic import DurationBounds, Overrides, TimeoutBounds
from app.core.resources.durations import (
    NO_DEADLINE,
    NO_DURATION,
    NO_TIMEOUT,
    SHAPE,
    Duration,
    parse_duration,
    parse_timeout,
)
from app.core.resources.records import Record
from app.core.rules import templates
from app.core.rules.predicates import fully, partly

ATTEMPTS = "attempts"
PER_TRY_TIMEOUT = "per-try-timeout"
TIMEOUT = "timeout"
RETRY_ON = "retry-on"
VIRTUAL_SERVICE = "virtual-service"
DISABLED = "Disabled"

Names = Mapping[str, str]
"""Expressions in CEL: of the value, as `text`, and of each bound of the policy."""


class Check(Record):
    """What makes a value invalid, and the message for it.

    `refuses` takes the value and what the policy allows; `cel` returns the same predicate in CEL. The checks of a row
    are tried in order: the first that refuses gives the message.
    """

    template: str
    refuses: Callable[[str, Any], bool]
    cel: Callable[[Names], str]


class Override(Record):
    """One annotation.

    `allowed` returns what the policy allows, None if it forbids the annotation. `bounds` returns the parts of that
    which checks and messages name. `sets` returns the fields of `Tuning` that a valid value sets.
    """

    name: str
    allowed: Callable[[Overrides], Any]
    checks: tuple[Check, ...]
    sets: Callable[[str], Mapping[str, Any]]
    bounds: Callable[[Any], Mapping[str, Any]] = lambda _allowed: {}
    quoted: Callable[[str, Any], str] = lambda text, _allowed: text
    """The part of the value that a message quotes as {word}."""
    quoted_cel: Callable[[Names], str] = lambda names: names["text"]

    def problem(self, text: str, overrides: Overrides) -> tuple[str, Mapping[str, Any]] | None:
        """Return the template of the message and the bounds, None if the value is valid."""
        allowed = self.allowed(overrides)
        if allowed is None:
            return templates.FORBIDDEN, {}
        for check in self.checks:
            if check.refuses(text, allowed):
                return check.template, self.bounds(allowed)
        return None


def _limits(allowed: Any) -> Mapping[str, Any]:  # noqa: ANN401 - bounds of numbers or of durations
    return {"least": allowed.min, "most": allowed.max}


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _first_refused(text: str, allowed: Iterable[str]) -> str:
    return next((word for word in _words(text) if word not in allowed), "")


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _is(parse: Callable[[object], Duration], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _is_outside(text: str, allowed: DurationBounds) -> bool:
    return not allowed.min <= parse_duration(text) <= allowed.max


def _duration_cel(names: Names) -> str:
    return f"{fully(names['text'], SHAPE)} && {partly(names['text'], '[1-9]')}"


def _whole_outside_cel(names: Names) -> str:
    number = f"int({names['text']})"
    return f"({number} < {names['least']} || {number} > {names['most']})"


def _outside_cel(names: Names) -> str:
    length = f"duration({names['text']})"
    return f"({length} < duration({names['least']}) || {length} > duration({names['most']}))"


def _no_deadline_cel(names: Names) -> str:
    return f'{names["text"]} == "{NO_DEADLINE.text}"'


def _forbids_no_deadline(text: str, allowed: TimeoutBounds) -> bool:
    return text == NO_DEADLINE.text and allowed.no_deadline is Permission.FORBID


def _disabled_allowed(overrides: Overrides) -> Permission | None:
    return None if overrides.virtual_service is Permission.FORBID else overrides.virtual_service


OVERRIDES = (
    Override(
        ATTEMPTS,
        allowed=lambda overrides: overrides.attempts,
        bounds=_limits,
        checks=(
            Check(
                templates.NOT_WHOLE,
                refuses=lambda text, _: not _is_whole(text),
                cel=lambda names: f"!{fully(names['text'], '[0-9]{1,9}')}",
            ),
            Check(
                templates.OUT_OF_BOUNDS,
                refuses=lambda text, allowed: not allowed.min <= int(text) <= allowed.max,
                cel=_whole_outside_cel,
            ),
        ),
        sets=lambda text: {"attempts": int(text)},
    ),
    Override(
        PER_TRY_TIMEOUT,
        allowed=lambda overrides: overrides.per_try_timeout,
        bounds=_limits,
        checks=(
            Check(
                NO_DURATION,
                refuses=lambda text, _: not _is(parse_duration, text),
                cel=lambda names: f"!({_duration_cel(names)})",
            ),
            Check(templates.OUT_OF_BOUNDS, refuses=_is_outside, cel=_outside_cel),
        ),
        sets=lambda text: dict.fromkeys(("per_try_timeout", "stream_per_try_timeout"), parse_duration(text)),
    ),
    Override(
        RETRY_ON,
        allowed=lambda overrides: overrides.retry_on,
        bounds=lambda allowed: {"words": allowed},
        checks=(
            Check(
                templates.NOT_GRANTED,
                refuses=lambda text, allowed: any(word not in allowed for word in _words(text)),
                cel=lambda names: f"variables.words.exists(w, !(w in {names['words']}))",
            ),
        ),
        sets=lambda text: {"retry_on": _words(text), "retry_on_grpc": ()},
        quoted=_first_refused,
        quoted_cel=lambda names: f"variables.words.filter(w, !(w in {names['words']}))[0]",
    ),
    Override(
        TIMEOUT,
        allowed=lambda overrides: overrides.timeout,
        bounds=lambda allowed: {**_limits(allowed), "no_deadline": allowed.no_deadline is Permission.ALLOW},
        checks=(
            Check(
                templates.NO_DEADLINE_FORBIDDEN,
                refuses=_forbids_no_deadline,
                cel=lambda names: f"{_no_deadline_cel(names)} && !{names['no_deadline']}",
            ),
            Check(
                NO_TIMEOUT,
                refuses=lambda text, _: not _is(parse_timeout, text),
                cel=lambda names: f"!({_no_deadline_cel(names)}) && !({_duration_cel(names)})",
            ),
            Check(
                templates.OUT_OF_BOUNDS,
                refuses=lambda text, allowed: text != NO_DEADLINE.text and _is_outside(text, allowed),
                cel=lambda names: f"!({_no_deadline_cel(names)}) && {_outside_cel(names)}",
            ),
        ),
        sets=lambda text: dict.fromkeys(("timeout", "stream_timeout"), parse_timeout(text)),
    ),
    Override(
        VIRTUAL_SERVICE,
        allowed=_disabled_allowed,
        checks=(
            Check(
                templates.NOT_DISABLED,
                refuses=lambda text, _: text != DISABLED,
                cel=lambda names: f'{names["text"]} != "{DISABLED}"',
            ),
        ),
        sets=lambda _text: {"emit": False},
    ),
)
"""In the order of their findings: by name."""
