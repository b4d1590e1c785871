"""The base of the policy's model: frozen dataclasses with descriptions, and the annotated types of their fields.

pydantic is imported only when a policy file is read: its import takes longer than most commands, and the built-in
policy needs no reading.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard, TypeVar, dataclass_transform

from app.core.resources.days import DAY, NUMBER_OF_DAYS, Days, parse_day, parse_days
from app.core.resources.durations import (
    PATTERN,
    SECONDS_PATTERN,
    Duration,
    parse_duration,
    parse_seconds,
    parse_timeout,
)
from app.core.resources.patterns import Pattern, parse_pattern

if TYPE_CHECKING:
    from pydantic import ConfigDict, GetCoreSchemaHandler
    from pydantic_core import CoreSchema

T = TypeVar("T")


class Permission(enum.Enum):
    """Whether teams may use one of our annotations."""

    ALLOW = "Allow"
    FORBID = "Forbid"


def camel(name: str) -> str:
    """Return the name of a field as it is written in a policy file."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


CONFIG: "ConfigDict" = {"strict": True, "extra": "forbid", "alias_generator": camel}


def setting(description: str, **options: Any) -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare a field of a model: its description, its `default`, and bounds in the format of pydantic's Field."""
    default = {"default": options.pop("default")} if "default" in options else {}
    return field(**default, metadata={"description": description, **options})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
def model(cls: type[T]) -> type[T]:
    """Make a class a frozen part of the policy: read in camelCase, strictly, without unknown keys."""
    cls.__pydantic_config__ = CONFIG  # type: ignore[attr-defined]  # where pydantic looks for it
    return dataclass(kw_only=True, unsafe_hash=True)(cls)  # frozen for mypy only, to be declared faster


def is_model(annotation: object) -> TypeGuard[type]:
    """Say whether a type is a part of the policy."""
    return hasattr(annotation, "__pydantic_config__")


class Bounds:
    """Annotates a type with arguments of pydantic's Field, such as `pattern` and `max_length`."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - as pydantic's Field
        self._given = options

    def __get_pydantic_core_schema__(self, source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":  # noqa: ANN401
        """Say how the type is read."""
        from pydantic import Field

        return handler.generate_schema(Annotated[source, Field(**self._given)])


class Parsed:
    """Annotates a type that is written as text: its parser, which raises ValueError, and the format."""

    def __init__(self, parse: Callable[[object], Any], title: str, pattern: str) -> None:
        self._parse = parse
        self._schema = {"type": "string", "title": title, "pattern": f"^{pattern}$"}

    def __get_pydantic_core_schema__(self, source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":  # noqa: ANN401
        """Say how the type is read, and how it is written again."""
        from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

        as_text = PlainSerializer(str, return_type=str)
        return handler.generate_schema(
            Annotated[source, PlainValidator(self._parse), as_text, WithJsonSchema(self._schema)]
        )


Glob = Annotated[str, Bounds(min_length=1, max_length=253, title="glob")]
"""A glob over namespaces or hosts, no longer than a host can be."""
PatternField = Annotated[Pattern, Parsed(parse_pattern, "pattern", ".+")]
DayField = Annotated[str, Parsed(parse_day, "day", DAY)]
DaysField = Annotated[Days, Parsed(parse_days, "number of days", NUMBER_OF_DAYS)]
DurationField = Annotated[Duration, Parsed(parse_duration, "duration", PATTERN)]
TimeoutField = Annotated[Duration, Parsed(parse_timeout, "duration, or 0s for none", rf"(?:0s|{PATTERN})")]
SecondsField = Annotated[Duration, Parsed(parse_seconds, "duration of whole seconds", SECONDS_PATTERN)]
