"""The parser: from text to its documents, within limits that hold for any text.

It builds values from libyaml's events. PyYAML's own composer recurses in C, so deep nesting ends the process. It also
uses half a kilobyte for each value, and does not limit aliases.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from app.core.resources.service_entry import JSON
from app.manifests.scalars import plain

DEPTH_LIMIT = 128
"""Maximum nesting of lists and objects; Kubernetes' own objects have about half of it."""
VALUE_LIMIT = 1_000_000
"""Maximum number of values of a document, about 150 MB."""
ALIAS_LIMIT = 10_000
"""Maximum number of values that the aliases of a document may repeat."""

_TYPED = frozenset(f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "null"))
_MERGE = "<<"

Event: TypeAlias = Any
"""An event of PyYAML; its type stubs do not have the fields of events."""
Mark: TypeAlias = Any
"""A position in a text, as PyYAML reports it."""


class Malformed(ValueError):
    """Text that is not YAML, or exceeds a limit; `line` is counted from 1, 0 if it is unknown."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its value, and where it starts and ends in the text, in characters.

    `twice` is a duplicate key in one of its objects, with the line; None if there is none. The last value is used.
    """

    value: JSON
    start: int
    end: int
    twice: tuple[str, int] | None = None


def documents(text: str) -> Iterator[Document]:
    """Yield the documents of a text; raises Malformed at the first error."""
    try:
        yield from _Reader(text).documents()
    except yaml.MarkedYAMLError as error:
        raise Malformed(f"is not YAML: {error.problem}", line_at(text, error.problem_mark)) from None
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position]
        raise Malformed(f"is not YAML: {error.reason}", before.count(b"\n") + 1) from None


def line_at(text: str, mark: Mark) -> int:
    """Return the line of a position as editors count it: YAML has line breaks that editors do not have."""
    return text.count("\n", 0, mark.index) + 1


class _Reader:
    """Reads events one by one; its counters are those of one document at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next: Callable[[], Event] = yaml.CSafeLoader(text).get_event
        self._reset()

    def documents(self) -> Iterator[Document]:
        while type(event := self._next()) is not yaml.StreamEndEvent:
            start, kind = event.start_mark.index, type(event)
            if kind is yaml.DocumentStartEvent:
                self._reset()
                value = self._value(self._next(), 0)
                yield Document(value, start, self._next().end_mark.index, self._twice)

    def _reset(self) -> None:
        self._anchors: dict[str, tuple[JSON, int]] = {}
        self._open: set[str] = set()
        self._count = 0
        self._repeated = 0
        self._twice: tuple[str, int] | None = None

    def _value(self, event: Event, depth: int) -> JSON:
        self._count += 1
        if self._count > VALUE_LIMIT:
            raise self._malformed(event, f"has more than {VALUE_LIMIT:,} values")
        if type(event) is yaml.ScalarEvent and not event.anchor:
            return _scalar(event)
        if type(event) is yaml.AliasEvent:
            return self._alias(event)
        return self._anchored(event, depth)

    def _anchored(self, event: Event, depth: int) -> JSON:
        before, anchor = self._count, event.anchor
        if anchor is None:
            return self._collection(event, depth)
        self._open.add(anchor)
        value = _scalar(event) if isinstance(event, yaml.ScalarEvent) else self._collection(event, depth)
        self._open.discard(anchor)
        self._anchors[anchor] = value, self._count - before + 1
        return value

    def _alias(self, event: Event) -> JSON:
        if event.anchor in self._open:
            raise self._malformed(event, f"*{event.anchor} refers to an object that it is part of")
        if event.anchor not in self._anchors:
            raise self._malformed(event, f"*{event.anchor} refers to an unknown anchor")
        value, size = self._anchors[event.anchor]
        self._count += size - 1
        self._repeated += size
        if self._repeated > ALIAS_LIMIT:
            raise self._malformed(event, f"has aliases that repeat more than {ALIAS_LIMIT:,} values")
        return deepcopy(value)

    def _collection(self, event: Event, depth: int) -> JSON:
        if depth >= DEPTH_LIMIT:
            raise self._malformed(event, f"is nested deeper than {DEPTH_LIMIT}")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(depth + 1)
        values = []
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            values.append(self._value(event, depth + 1))
        return values

    def _mapping(self, depth: int) -> JSON:
        values: dict[str, JSON] = {}
        merged: dict[str, JSON] = {}
        while type(event := self._next()) is not yaml.MappingEndEvent:
            key = self._key(event, depth)
            value = self._value(self._next(), depth)
            if key == _MERGE and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                merged |= self._merged(value, event)
                continue
            if key in values and not self._twice:
                self._twice = key, line_at(self._text, event.start_mark)
            values[key] = value
        return merged | values if merged else values

    def _key(self, event: Event, depth: int) -> str:
        """Return a key as it is written: in JSON every key is text."""
        if type(event) is yaml.ScalarEvent and not event.anchor:
            return str(event.value)
        key = self._value(event, depth)
        if isinstance(key, str):
            return key
        raise self._malformed(event, "has a key that is not text")

    def _merged(self, value: JSON, event: Event) -> dict[str, JSON]:
        """Apply a merge key: of several objects, the first with a key wins."""
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise self._malformed(event, "merges a value that is not an object")
        return {key: source[key] for source in reversed(sources) for key in source}

    def _malformed(self, event: Event, reason: str) -> Malformed:
        return Malformed(reason, line_at(self._text, event.start_mark))


def _scalar(event: Event) -> JSON:
    if event.implicit[0] or event.tag in _TYPED:
        return plain(event.value)
    return event.value
