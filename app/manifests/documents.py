"""The parser: from text to its documents, within limits that hold for any text.

It builds values from libyaml's events. PyYAML's own composer recurses in C, so deep nesting ends the process. It also
uses half a kilobyte for each value, and does not limit aliases. A dialect defines the values of plain scalars: those of
kubectl for manifests, those of YAML 1.2 for a policy file.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, TypeAlias

import yaml

from app.core.resources.fields import JSON
from app.core.resources.records import Record

DEPTH_LIMIT = 128
"""Maximum nesting of lists and objects; Kubernetes' own objects have about half of it."""
VALUE_LIMIT = 1_000_000
"""Maximum number of values of a document, about 150 MB."""
ALIAS_LIMIT = 10_000
"""Maximum number of values that the aliases of a document may repeat."""

_TAG = "tag:yaml.org,2002:"
_TYPED: dict[str | None, type] = {
    f"{_TAG}{name}": kind for name, kind in (("bool", bool), ("float", float), ("int", int), ("null", type(None)))
}
_TYPES = {**_TYPED, "!": str, f"{_TAG}str": str, f"{_TAG}map": dict, f"{_TAG}seq": list}
_MERGE = "<<"

_SPELLINGS = {None: ("~", "null"), True: ("y", "yes", "true", "on"), False: ("n", "no", "false", "off")}
_WORDS = {
    spelling: meaning
    for meaning, words in _SPELLINGS.items()
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
} | {"": None}
_INTEGER = re.compile(r"[-+]?(?:0b[01]{1,64}|0o?[0-7]{1,22}|0x[0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,19})")
_OCTAL = re.compile(r"^([-+]?)0([0-7]+)$")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMERIC = frozenset("+-.0123456789")

_CORE_WORDS = {
    spelling: meaning
    for word, meaning in (("null", None), ("true", True), ("false", False))
    for spelling in (word, word.capitalize(), word.upper())
} | {"": None, "~": None}
_CORE_INTEGER = re.compile(r"[-+]?[0-9]{1,1000}|0o[0-7]+|0x[0-9a-fA-F]+")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

Event: TypeAlias = Any
"""An event of PyYAML; its type stubs do not have the fields of events."""


class Malformed(ValueError):
    """Text that is not YAML, or exceeds a limit; `line` is counted from 1, 0 if it is unknown."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class Document(Record):
    """One document: its value, and where it starts and ends in the text, in characters.

    `twice` is a duplicate key in one of its objects, with the line; None if there is none. The last value is used.
    """

    value: JSON
    start: int
    end: int
    twice: tuple[str, int] | None = None


class Dialect(Record):
    """The dialect of YAML: the values of plain scalars, and the maximum nesting.

    A strict dialect has no merge keys, and rejects a tag that is not the type of its value.
    """

    plain: Callable[[str], JSON]
    depth: int
    strict: bool = False


def decoded(content: bytes) -> str:
    """Return the text of a file, without its byte-order mark; raises Malformed if it is not UTF-8."""
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Malformed(f"is not text: byte 0x{error.object[error.start]:02x} is not UTF-8", line) from None


def documents(text: str, dialect: Dialect | None = None) -> Iterator[Document]:
    """Yield the documents of a text, by default in kubectl's dialect; raises Malformed at the first error."""
    try:
        yield from _Reader(text, dialect or _KUBECTL).documents()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise Malformed(f"is not YAML: {error.problem}", line_at(text, mark.index) if mark else 0) from None
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position]
        raise Malformed(f"is not YAML: {error.reason}", before.count(b"\n") + 1) from None


def line_at(text: str, offset: int) -> int:
    """Return the line of a position as editors count it: YAML has line breaks that editors do not have."""
    return text.count("\n", 0, offset) + 1


class _Reader:
    """Reads events one by one; its counters are those of one document at a time."""

    def __init__(self, text: str, dialect: Dialect) -> None:
        self._text = text
        self._plain, self._depth, self._strict = dialect.plain, dialect.depth, dialect.strict
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
            return self._scalar(event)
        if type(event) is yaml.AliasEvent:
            return self._alias(event)
        return self._anchored(event, depth)

    def _anchored(self, event: Event, depth: int) -> JSON:
        before, anchor = self._count, event.anchor
        if anchor is None:
            return self._collection(event, depth)
        self._open.add(anchor)
        value = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else self._collection(event, depth)
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
        if depth >= self._depth:
            raise self._malformed(event, f"is nested deeper than {self._depth}")
        if isinstance(event, yaml.MappingStartEvent):
            self._check_tag(event, dict)
            return self._mapping(depth + 1)
        self._check_tag(event, list)
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
            if key == _MERGE and self._merging(event):
                merged |= self._merged(value, event)
                continue
            if key in values and not self._twice:
                self._twice = key, line_at(self._text, event.start_mark.index)
            values[key] = value
        return merged | values if merged else values

    def _key(self, event: Event, depth: int) -> str:
        """Return a key as it is written: in JSON every key is text."""
        if type(event) is yaml.ScalarEvent and not event.anchor:
            self._check_tag(event, str)
            return str(event.value)
        key = self._value(event, depth)
        if isinstance(key, str):
            return key
        raise self._malformed(event, "has a key that is not text")

    def _merging(self, event: Event) -> bool:
        return isinstance(event, yaml.ScalarEvent) and event.implicit[0] and not self._strict

    def _merged(self, value: JSON, event: Event) -> dict[str, JSON]:
        """Apply a merge key: of several objects, the first with a key wins."""
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise self._malformed(event, "merges a value that is not an object")
        return {key: source[key] for source in reversed(sources) for key in source}

    def _scalar(self, event: Event) -> JSON:
        value = self._plain(event.value) if event.implicit[0] or event.tag in _TYPED else event.value
        self._check_tag(event, type(value))
        return value

    def _check_tag(self, event: Event, kind: type) -> None:
        """Reject a tag that is not the type of its value, such as `!!int x` or `!!python/object`."""
        if self._strict and event.tag and _TYPES.get(event.tag) is not kind:
            raise self._malformed(event, f"has a value that does not have the type of its tag {event.tag[:60]!r}")

    def _malformed(self, event: Event, reason: str) -> Malformed:
        return Malformed(reason, line_at(self._text, event.start_mark.index))


def plain(text: str) -> JSON:
    """Return the value of an unquoted scalar as kubectl reads it.

    That is YAML 1.1 without sexagesimals, timestamps and infinities.
    """
    if text in _WORDS:
        return _WORDS[text]
    return _number(text) if text[0] in _NUMERIC else text


def _number(text: str) -> JSON:
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        return int(_OCTAL.sub(r"\g<1>0o\2", digits), 0)
    return float(digits) if _FLOAT.fullmatch(digits) else text


def core_schema(text: str) -> JSON:
    """Return the value of an unquoted scalar in YAML 1.2: `Off` is text, only `true` and `false` are booleans."""
    if text in _CORE_WORDS:
        return _CORE_WORDS[text]
    if _CORE_INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


_KUBECTL = Dialect(plain, DEPTH_LIMIT)
