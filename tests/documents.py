"""YAML in tests, read and written by libyaml: Helm renders much, and PyYAML's own reader takes ten times as long."""

from collections.abc import Iterable
from typing import Any

import yaml


def parsed(text: str) -> Any:
    """The one document of a text."""
    return yaml.load(text, Loader=yaml.CSafeLoader)


def documents(text: str) -> list[Any]:
    """All documents of a stream, without empty ones."""
    return [one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]


def as_text(value: object) -> str:
    """A value as one document."""
    return as_stream([value])


def as_stream(values: Iterable[object]) -> str:
    """Values as one document each."""
    return str(yaml.dump_all(values, Dumper=yaml.CSafeDumper))
