"""The reader of policies. It is strict: an unknown key, a wrong type or an impossible value is an error with its path.

pydantic is imported when the first policy is read, as in `model`.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from app.core.policy.errors import PolicyError, PolicyProblem, explain
from app.core.policy.fields import camel
from app.core.policy.model import API_VERSION, KIND, GuardPolicy, PolicyDocument, Settings
from app.core.policy.traffic import AttemptsBounds, DurationBounds
from app.core.resources.fields import JSON
from app.core.resources.records import replace

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MAX_DEPTH = 32
MAX_VALUES = 100_000
INT_BITS = 63
"""Limits of a document: YAML aliases can create any number of values from a few lines, or an endless value."""


def parse_policy(document: object) -> GuardPolicy:
    """Read a parsed policy file; raises PolicyError."""
    if not isinstance(document, dict):
        raise PolicyError(
            PolicyProblem(f"the policy must be an object with apiVersion: {API_VERSION} and kind: {KIND}")
        )
    missing = [
        PolicyProblem(f"must be {value}", name) for name, value in _IDENTITY.items() if document.get(name) != value
    ]
    if missing:
        raise PolicyError(*missing)
    policy = _read(_plain(document, iter(range(MAX_VALUES))))
    if reversed_bounds := list(_reversed_bounds(policy)):
        raise PolicyError(*reversed_bounds)
    return policy


def as_document(value: object, model: type) -> dict[str, Any]:
    """Return a value in the form of a policy file, with the fields of a model."""
    written: dict[str, Any] = adapter(model).dump_python(value, mode="json", by_alias=True)
    return written


@cache
def adapter(model: type) -> "TypeAdapter[Any]":
    """Return pydantic's adapter of a model; cached, because creating it takes long."""
    from pydantic import TypeAdapter

    return TypeAdapter(model)


_IDENTITY = {"apiVersion": API_VERSION, "kind": KIND}
_SETTINGS = {camel(field.name) for field in fields(Settings)}


def _read(document: Mapping[str, Any]) -> GuardPolicy:
    """Read a document, and merge the settings of each item of `namespaces` into the rest."""
    file = _validate(PolicyDocument, document)
    base, *layers = written = tuple(map(_settings, (document, *document.get("namespaces", ()))))
    laid_over = tuple(_validate(Settings, _merge(base, layer)) for layer in layers)
    return GuardPolicy(**vars(file), laid_over=laid_over, written=written)


def _validate(model: type, document: JSON) -> Any:  # noqa: ANN401 - one of the model
    """Read as JSON: strict mode then still accepts arrays for tuples and strings for enumerations."""
    from pydantic import ValidationError

    try:
        return adapter(model).validate_json(json.dumps(document), by_alias=True, by_name=False)
    except ValidationError as error:
        raise PolicyError(*explain(error, model)) from error


def _settings(layer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in layer.items() if name in _SETTINGS}


def _plain(value: object, left: Iterator[int], depth: int = 0) -> JSON:
    """Copy a document as JSON within limits; values that JSON does not have become text, which the models reject."""
    if depth > MAX_DEPTH or next(left, None) is None:
        excess = f"the policy has more than {MAX_VALUES} values, or is nested deeper than {MAX_DEPTH}"
        raise PolicyError(PolicyProblem(excess))
    if isinstance(value, Mapping):
        return {_text(name): _plain(item, left, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, left, depth + 1) for item in value]
    if isinstance(value, int) and value.bit_length() > INT_BITS:
        return _float(value)
    return value if value is None or isinstance(value, int | float) else _text(value)


def _float(value: int) -> float:
    """Return a float of about that size, which no field accepts."""
    try:
        return float(value)
    except OverflowError:
        return sys.float_info.max


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    huge = isinstance(value, int) and value.bit_length() > INT_BITS
    return f"a number of more than {INT_BITS} bits" if huge else str(value)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], value) if both else value
    return merged


def _reversed_bounds(policy: GuardPolicy) -> Iterator[PolicyProblem]:
    """Find empty bounds; those of a layer are checked after merging."""
    known = set[PolicyProblem]()
    for path, _, settings in policy.layers():
        for name, bounds in vars(settings.virtual_service.overrides).items():
            if isinstance(bounds, AttemptsBounds | DurationBounds) and bounds.reversed:
                field = f"virtualService.overrides.{camel(name)}"
                problem = PolicyProblem(f"min {bounds.min} is over max {bounds.max}", field)
                yield from () if problem in known else (replace(problem, place=path + field),)
                known.add(problem)
