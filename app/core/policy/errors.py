"""Errors of a policy file, as sentences that name the path and the values that are allowed there."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args

from app.core.policy.fields import camel, is_model
from app.core.resources.service_entry import JSON

if TYPE_CHECKING:
    from pydantic import ValidationError

SHOWN = 60
"""Longest part of a rejected value that a message repeats, in characters."""

MOST = 20
"""Most problems that are reported."""


class PolicyError(Exception):
    """A policy that cannot be used; each of `problems` is one line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def explain(error: "ValidationError", model: type) -> list[str]:
    """Return one line for each error of reading `model`, at most MOST of them."""
    details = error.errors(include_url=False)
    more = [f"and {len(details) - MOST} more problems"] if len(details) > MOST else []
    return [*(_explain(detail, model) for detail in details[:MOST]), *more]


def _explain(detail: JSON, model: type) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    match detail["type"]:
        case "unexpected_keyword_argument":
            return f"{path}: unknown key; allowed here: {', '.join(_keys(detail['loc'][:-1], model))}"
        case "missing":
            return f"{path}: is required"
        case "too_short":
            return f"{path}: must list at least {detail['ctx']['min_length']}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{path}: {message[0].lower()}{message[1:]}, not {_shown(detail['input'])}"


def _shown(value: JSON) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return repr(value)[:SHOWN]


def _keys(path: tuple[str | int, ...], model: type) -> list[str]:
    for name in path:
        if isinstance(name, str):
            model = next(found for found in _models(_fields(model)[name]))
    return [*_fields(model)]


def _fields(model: type) -> dict[str, Any]:
    """Return the types of a model's fields by the names that they are written with."""
    return {camel(field.name): field.type for field in fields(model)}


def _models(annotation: object) -> list[type]:
    if is_model(annotation):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]
