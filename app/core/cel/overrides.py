"""The annotations that override the policy, in CEL: the checks of the table in `rules.annotations`.

The bounds differ between the namespaces of a policy. They are variables, so that the expressions grow by numbers only
when a policy has more namespaces.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from app.core.cel.expressions import FALSE, TRUE, array, both, hole, literal, negated, quoted
from app.core.cel.namespaces import Layers
from app.core.cel.variables import Variables
from app.core.policy.fields import camel
from app.core.policy.model import Settings
from app.core.resources.service_entry import PREFIX
from app.core.rules import templates
from app.core.rules.annotations import OVERRIDES, Override


def objections(row: Override, layers: Layers) -> Iterator[tuple[str, str]]:
    """Yield the conditions under which the value of an annotation is refused, each with its message."""
    allowed = layers.where(lambda settings: _allowed(row, settings) is not None)
    yield negated(allowed), templates.FORBIDDEN
    if allowed == FALSE:
        return
    found = dict(_bounds(row, layers))
    names = {"text": text_of(row), **{bound: f"variables.{variable(row, bound)}" for bound in found}}
    shown = {bound: _shown(names[bound], value) for bound, value in found.items()}
    before = list[str]()
    for check in row.checks:
        condition = check.cel(names)
        message = check.template.format(word=quoted(row.quoted_cel(names)), **shown)
        yield both(allowed, *map(negated, before), condition), message
        before.append(condition)


def bounds(layers: Layers) -> Variables:
    """Return the bounds of all annotations as variables."""
    return {
        variable(row, bound): layers.pick(partial(_literal, row, bound))
        for row in OVERRIDES
        for bound, _ in sorted(_bounds(row, layers))
    }


def key_of(row: Override) -> str:
    """Return the name of an annotation as a literal."""
    return literal(PREFIX + row.name)


def text_of(row: Override) -> str:
    """Return the value of an annotation as an expression."""
    return f"variables.annotations[{key_of(row)}]"


def variable(row: Override, part: str) -> str:
    """Return the name of a variable that belongs to an annotation."""
    return camel(f"{row.name}_{part}".replace("-", "_"))


def _allowed(row: Override, settings: Settings) -> Any:  # noqa: ANN401 - what the policy allows has several types
    return row.allowed(settings.virtual_service.overrides)


def _bounds(row: Override, layers: Layers) -> list[tuple[str, Any]]:
    """Return the bounds of the first layer that allows an annotation; they have the same names in all."""
    for allowed in layers.values(partial(_allowed, row)):
        if allowed is not None:
            return list(row.bounds(allowed).items())
    return []


def _literal(row: Override, bound: str, settings: Settings) -> str | None:
    allowed = _allowed(row, settings)
    return None if allowed is None else _written(row.bounds(allowed)[bound])


def _written(value: Any) -> str:  # noqa: ANN401 - a bound
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, tuple):
        return array(value)
    return literal(value if isinstance(value, int) else str(value))


def _shown(name: str, value: Any) -> str:  # noqa: ANN401 - a bound
    """Return a bound as a message has it, in a hole."""
    if isinstance(value, tuple):
        return hole(f'{name}.join(", ")')
    return hole(f"string({name})" if isinstance(value, int) else name)
