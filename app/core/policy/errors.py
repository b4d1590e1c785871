"""Errors of a policy file, as sentences that name the path and the values that are allowed there."""

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args

from app.core.policy.fields import camel, is_model
from app.core.resources.fields import JSON
from app.core.resources.records import Record

if TYPE_CHECKING:
    from pydantic import ValidationError

SHOWN = 60
"""Longest part of a rejected value that a message repeats, in characters."""

MOST = 20
"""Most problems that are reported."""


class PolicyProblem(Record):
    """A problem of a policy. `place` is a path in the document, or a file and line; empty for the whole document."""

    message: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class PolicyError(Exception):
    """A policy that cannot be used; each of `problems` is one line, written in `lines`."""

    def __init__(self, *problems: PolicyProblem) -> None:
        self.problems = problems
        self.lines = [str(problem) for problem in problems]
        super().__init__("; ".join(self.lines))


def explain(error: "ValidationError", model: type) -> Iterator[PolicyProblem]:
    """Yield one problem for each error of reading `model`, at most MOST of them."""
    details = error.errors(include_url=False)
    for detail in details[:MOST]:
        yield PolicyProblem(_message(detail, model), "".join(map(_step, detail["loc"])).lstrip("."))
    if len(details) > MOST:
        yield PolicyProblem(f"and {len(details) - MOST} more problems")


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if part.isprintable() else f".{part!r}"


def _message(detail: JSON, model: type) -> str:
    match detail["type"]:
        case "unexpected_keyword_argument":
            return f"unknown key; allowed here: {', '.join(_keys(detail['loc'][:-1], model))}"
        case "missing":
            return "is required"
        case "too_short":
            return f"must list at least {detail['ctx']['min_length']}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}, not {_shown(detail['input'])}"


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
