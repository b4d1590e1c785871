"""The annotations that a policy grants, in CEL: `overrides.tune`, annotation by annotation.

Bounds differ between layers. Expressions look them up, so that more layers only add numbers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.core.cel.expressions import FALSE, TRUE, array, both, fully, hole, literal, negated, partly, quoted
from app.core.cel.namespaces import Layers
from app.core.cel.variables import Variables
from app.core.policy.fields import Permission, camel
from app.core.policy.model import Settings
from app.core.policy.traffic import AttemptsBounds, DurationBounds, Overrides, TimeoutBounds
from app.core.resources.durations import NO_DEADLINE, NO_DURATION, NO_TIMEOUT, SHAPE
from app.core.resources.service_entry import PREFIX
from app.core.rules import overrides, templates

Objections = Iterator[tuple[str, str]]
"""Conditions, each with the message if it is true."""


@dataclass(frozen=True)
class Grant:
    """One annotation: how the policy allows it (None: not at all), and the objections to its value."""

    name: str
    get: Callable[[Overrides], Any]
    object_to: Callable[["Grant"], Objections]
    bounds: Callable[[Any], dict[str, str]] = lambda _granted: {}
    """Literals by what they are, such as "Least"."""

    @property
    def key(self) -> str:
        """The annotation's name, as a literal."""
        return literal(PREFIX + self.name)

    @property
    def text(self) -> str:
        """The annotation's value, as an expression."""
        return f"variables.annotations[{self.key}]"

    @property
    def variable(self) -> str:
        """The prefix of its variables."""
        return camel(self.name.replace("-", "_"))

    def objections(self, layers: Layers) -> Objections:
        """Yield all objections."""
        granted = layers.where(lambda one: self._granted(one) is not None)
        yield negated(granted), templates.FORBIDDEN
        if granted != FALSE:
            for condition, message in self.object_to(self):
                yield both(granted, condition), message

    def looked_up(self, layers: Layers) -> Variables:
        """Return the variables that hold the bounds of the layer."""
        names = {
            name for granted in layers.values(self._granted) if granted is not None for name in self.bounds(granted)
        }
        return {self.variable + name: layers.pick(partial(self._bound, name)) for name in sorted(names)}

    def _granted(self, settings: Settings) -> Any:  # noqa: ANN401 - what `get` gives
        return self.get(settings.virtual_service.overrides)

    def _bound(self, name: str, settings: Settings) -> str | None:
        granted = self._granted(settings)
        return None if granted is None else self.bounds(granted)[name]


def bounds(layers: Layers) -> Variables:
    """Return the bounds of all annotations."""
    return {name: expression for grant in GRANTS for name, expression in grant.looked_up(layers).items()}


def _attempts(grant: Grant) -> Objections:
    whole, number = fully(grant.text, "[0-9]{1,9}"), f"int({grant.text})"
    least, most = f"variables.{grant.variable}Least", f"variables.{grant.variable}Most"
    yield negated(whole), templates.NOT_WHOLE
    message = templates.OUT_OF_BOUNDS.format(least=hole(f"string({least})"), most=hole(f"string({most})"))
    yield both(whole, f"({number} < {least} || {number} > {most})"), message


def _duration(grant: Grant, shape: str = NO_DURATION) -> Objections:
    sound, length = both(fully(grant.text, SHAPE), partly(grant.text, "[1-9]")), f"duration({grant.text})"
    least, most = f"variables.{grant.variable}Least", f"variables.{grant.variable}Most"
    yield negated(sound), shape
    message = templates.OUT_OF_BOUNDS.format(least=hole(least), most=hole(most))
    yield both(sound, f"({length} < duration({least}) || {length} > duration({most}))"), message


def _timeout(grant: Grant) -> Objections:
    """Yield the objections to a timeout: "0s" means none, which has its own permission."""
    none = f"{grant.text} == {literal(NO_DEADLINE.text)}"
    yield both(none, f"!variables.{grant.variable}NoDeadline"), templates.NO_DEADLINE_FORBIDDEN
    for condition, message in _duration(grant, NO_TIMEOUT):
        yield both(negated(none), condition), message


def _retry_on(grant: Grant) -> Objections:
    words = f"variables.{grant.variable}Words"
    refused = f"variables.words.filter(w, !(w in {words}))"
    granted = hole(f'{words}.join(", ")')
    yield f"{refused}.size() > 0", templates.NOT_GRANTED.format(word=quoted(f"{refused}[0]"), granted=granted)


def _virtual_service(grant: Grant) -> Objections:
    yield f"{grant.text} != {literal(overrides.DISABLED)}", templates.NOT_DISABLED


def _numbers(granted: AttemptsBounds) -> dict[str, str]:
    return {"Least": literal(granted.min), "Most": literal(granted.max)}


def _lengths(granted: DurationBounds) -> dict[str, str]:
    return {"Least": literal(str(granted.min)), "Most": literal(str(granted.max))}


def _timeouts(granted: TimeoutBounds) -> dict[str, str]:
    return {**_lengths(granted), "NoDeadline": TRUE if granted.no_deadline is Permission.ALLOW else FALSE}


def _words(granted: tuple[str, ...]) -> dict[str, str]:
    return {"Words": array(granted)}


def _allowed(overrides: Overrides) -> Permission | None:
    return None if overrides.virtual_service is Permission.FORBID else overrides.virtual_service


GRANTS = (
    Grant(overrides.ATTEMPTS, lambda overrides: overrides.attempts, _attempts, _numbers),
    Grant(overrides.PER_TRY_TIMEOUT, lambda overrides: overrides.per_try_timeout, _duration, _lengths),
    Grant(overrides.RETRY_ON, lambda overrides: overrides.retry_on, _retry_on, _words),
    Grant(overrides.TIMEOUT, lambda overrides: overrides.timeout, _timeout, _timeouts),
    Grant(overrides.VIRTUAL_SERVICE, _allowed, _virtual_service),
)
"""Sorted by name, like the findings of the core."""
