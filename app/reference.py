"""The reference of the policy, made from its model: JSON Schema, table of fields, built-in policy as YAML."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema

from app.core.policy.model import PolicyDocument, default_policy
from app.core.policy.reader import adapter, as_document
from app.core.resources.durations import Duration
from app.core.resources.fields import JSON

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SECTION = "section"
WIDTH = 100
"""Longest line of a comment, in characters."""
LAYERS = ("namespaces",)
"""The field whose sections may set what the policy itself may."""
INLINE = 4
"""Maximum length of a list that is written in one line."""


@dataclass(frozen=True, slots=True)
class PolicyField:
    """One field of the policy: its description and its allowed values."""

    path: tuple[str, ...]
    description: str
    allowed: str
    """In words."""
    default: JSON
    """None for sections, and for fields without a default."""
    example: JSON
    fields: tuple["PolicyField", ...]
    """Those of a section; of a list of sections those that the policy itself does not have."""

    @property
    def section(self) -> bool:
        """Whether it holds fields."""
        return self.allowed.startswith(SECTION)


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a policy file."""
    return {"$schema": DIALECT, **adapter(PolicyDocument).json_schema(schema_generator=_Generator)}


def fields() -> tuple[PolicyField, ...]:
    """Return every field of a policy file, in order; sections hold theirs."""
    return _Reader(schema()).fields


def default_text() -> str:
    """Write the built-in policy as YAML, every field with its comment."""
    default = as_document(default_policy(), PolicyDocument)
    lines = _comment(
        "The built-in policy of serviceentry-guard. A field that a file does not set has the value that it has here."
    )
    for field in fields():
        lines += ["", *_written(field, default[field.path[-1]])]
    return "\n".join(lines) + "\n"


class _Generator(GenerateJsonSchema):
    """Leaves out titles made from names, and defaults of sections, which repeat those of their fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - as overridden
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:  # noqa: ANN401 - as overridden
        generated = super().default_schema(schema)
        if isinstance(generated.get("default"), dict):
            del generated["default"]
        return generated

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 - as overridden
        return str(dft) if isinstance(dft, Duration) else super().encode_default(dft)


class _Reader:
    """Reads fields out of a JSON Schema, as far as pydantic writes it for a policy."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._definitions = root["$defs"]
        self._known = root["properties"].keys()
        self.fields = tuple(self._field((name,), written) for name, written in root["properties"].items())

    def _field(self, path: tuple[str, ...], written: JSON) -> PolicyField:
        meant, nullable = self._meant(written)
        return PolicyField(
            path=path,
            description=written.get("description") or meant["description"],
            allowed=self._allowed(meant) + (", or null" if nullable else ""),
            default=written.get("default"),
            example=next(iter(written.get("examples", ())), None),
            fields=tuple(self._nested(path, meant)),
        )

    def _nested(self, path: tuple[str, ...], meant: JSON) -> Iterator[PolicyField]:
        for name, written in meant.get("properties", {}).items():
            yield self._field((*path, name), written)
        listed, _ = self._meant(meant.get("items", {}))
        for name, written in listed.get("properties", {}).items():
            if path != LAYERS or name not in self._known:
                yield self._field((*path[:-1], f"{path[-1]}[]", name), written)

    def _meant(self, written: JSON) -> tuple[JSON, bool]:
        """Follow references; say as well whether null is allowed."""
        choices = [choice for choice in written.get("anyOf", [written]) if choice.get("type") != "null"]
        name = choices[0].get("$ref", "").removeprefix("#/$defs/")
        return self._definitions[name] if name else choices[0], "anyOf" in written

    def _allowed(self, meant: JSON) -> str:
        if "items" in meant:
            listed, _ = self._meant(meant["items"])
            few = "non-empty " if meant.get("minItems") else ""
            return f"{few}list of {self._allowed(listed)}" + ("" if "enum" in listed else "s")
        values = meant.get("enum", [meant["const"]] if "const" in meant else [])
        if values:
            return " or ".join(filter(None, [", ".join(values[:-1]), values[-1]]))
        if meant["type"] == "integer":
            return f"whole number, {meant['minimum']} to {meant['maximum']}"
        names = {"boolean": "true or false", "object": SECTION, "string": meant.get("title", "text")}
        return str(names[meant["type"]])


def _written(field: PolicyField, value: JSON) -> list[str]:
    """Write a field with its comments."""
    name = field.path[-1]
    lines = _comment(field.description)
    if field.section and value is not None:
        nested = (
            line for nested_field in field.fields for line in _written(nested_field, value[nested_field.path[-1]])
        )
        return [*lines, f"{name}:", *_indented(nested)]
    if isinstance(value, list) and len(value) > INLINE:
        return [*lines, f"{name}:  # {field.allowed}", *_indented(f"- {_flow(item)}" for item in value)]
    allowed = "" if field.allowed == value else f"  # {field.allowed}"
    return [*lines, f"{name}: {_flow(value)}{allowed}", *_indented(_unset(field))]


def _unset(field: PolicyField) -> Iterator[str]:
    """Write, as comments, what could stand in the place of null or of an empty list."""
    if field.example is not None:
        yield f"# for example: {_flow(field.example)}"
    for nested in field.fields if field.section else ():
        yield from (f"# {line}" for line in _written(nested, nested.default))


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)]


def _flow(value: JSON) -> str:
    """Write a value in one line."""
    return yaml.safe_dump([value], default_flow_style=True, width=10_000).strip()[1:-1]
