"""The layout of a file: the positions of its values in the text, for line numbers and edits."""

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import yaml

from app.core.resources.records import Record, field
from app.manifests.documents import Event
from app.manifests.lists import member_field

if TYPE_CHECKING:
    from app.core.routes.survey import Sourced
    from app.manifests.files import File

_NO_FIELDS: "Mapping[str, Field]" = {}
"""Those of every scalar: very many have none."""
_INDEX = re.compile(r"\[([0-9]+)\]")


class Node(Record):
    """A value in the text: from `start` to before `end`, in characters.

    An object or a list in block style ends at the end of its last value. `text` is the content of a scalar; its
    `style` is its quotation mark, "|" or ">" for a block scalar, "" for a plain one. An alias is an empty node.
    """

    start: int
    end: int
    text: str = ""
    style: str = ""
    flow: bool = False
    fields: "Mapping[str, Field]" = field(default_factory=dict)
    items: "tuple[Node, ...]" = ()

    def find(self, path: str) -> "Node":
        """Return the node at a path, or its nearest existing parent; for a field, the key.

        The path is in Kubernetes' notation: `spec.ports[1].protocol`, `metadata.annotations["example.io/a"]`.
        """
        shown, node, rest = self, self, f".{path}"
        while (spelling := node._first_of(rest)) is not None:
            shown, node = node._at(spelling)
            rest = rest.removeprefix(spelling)
        return shown

    def _first_of(self, path: str) -> str | None:
        """Return the beginning of a path that names a field or item of this node; keys may contain dots."""
        if self.items and (index := _INDEX.match(path)):
            return index[0] if int(index[1]) < len(self.items) else None
        opening, closing = (".", "") if path.startswith(".") else ('["', '"]')
        spellings = [f"{opening}{name}{closing}" for name in self.fields if path.startswith(name, len(opening))]
        matching = (
            spelling
            for spelling in spellings
            if path.startswith(spelling) and path[len(spelling) : len(spelling) + 1] in {"", ".", "["}
        )
        return max(matching, key=len, default=None)

    def _at(self, spelling: str) -> "tuple[Node, Node]":
        if index := _INDEX.fullmatch(spelling):
            item = self.items[int(index[1])]
            return item, item
        found = self.fields[spelling[1:] if spelling[0] == "." else spelling[2:-2]]
        return found.key, found.value


class Field(Record):
    """A field of an object: its key and its value."""

    key: Node
    value: Node


class Source:
    """The positions of a file's documents. The layout of one document at a time is computed on demand."""

    def __init__(self, file: "File") -> None:
        self.file = file
        self.spans: list[tuple[int, int]] = []
        """Start and end of each document, in characters."""
        self._laid: tuple[int, Node] | None = None

    def line(self, offset: int) -> int:
        """Return the line, counted from 1, of a position in the text."""
        return bisect_left(self._breaks, offset) + 1

    def root(self, document: int) -> Node:
        """Return the layout of a document."""
        if self._laid is None or self._laid[0] != document:
            self._laid = document, layout(self.file.text, *self.spans[document])
        return self._laid[1]

    def node(self, manifest: "Sourced") -> Node:
        """Return the layout of a manifest of this file; that of the whole List if its items are behind an alias."""
        root = self.root(manifest.document)
        field = member_field(root.fields)
        items = root.fields[field].value.items if field in root.fields else ()
        return root if manifest.item is None or manifest.item >= len(items) else items[manifest.item]

    @cached_property
    def mentions_entries(self) -> bool:
        """Whether the text contains the word ServiceEntry; if not, the search is skipped."""
        return "ServiceEntry" in self.file.text

    @cached_property
    def may_have_placeholders(self) -> bool:
        """Whether a value may contain a placeholder, perhaps spelt with an escape; if not, the search is skipped."""
        return any(mark in self.file.text for mark in ("${", "{{", "$(", "\\"))

    @cached_property
    def _breaks(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.file.text)]


def layout(text: str, start: int, end: int) -> Node:
    """Return the layout of one document between two positions of a text that `documents` has parsed."""
    return _Reader(text[start:end], start).document()


class _Reader:
    def __init__(self, text: str, offset: int) -> None:
        self._next: Callable[[], Event] = yaml.CSafeLoader(text).get_event
        self._offset = offset

    def document(self) -> Node:
        while type(self._next()) is not yaml.DocumentStartEvent:
            pass
        return self._node(self._next())

    def _node(self, event: Event) -> Node:
        kind = type(event)
        if kind is yaml.MappingStartEvent:
            return self._mapping(event)
        if kind is yaml.SequenceStartEvent:
            return self._sequence(event)
        text, style = ("", "") if kind is yaml.AliasEvent else (event.value, event.style or "")
        return Node(*self._place(event), text, style, fields=_NO_FIELDS)

    def _mapping(self, event: Event) -> Node:
        fields: dict[str, Field] = {}
        (start, end), flow = self._place(event), event.flow_style
        while type(event := self._next()) is not yaml.MappingEndEvent:
            key, value = self._node(event), self._node(self._next())
            fields[key.text] = Field(key, value)
            end = value.end
        return Node(start, self._place(event)[1] if flow else end, flow=flow, fields=fields)

    def _sequence(self, event: Event) -> Node:
        items: list[Node] = []
        (start, end), flow = self._place(event), event.flow_style
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            items.append(self._node(event))
            end = items[-1].end
        return Node(start, self._place(event)[1] if flow else end, flow=flow, items=tuple(items))

    def _place(self, event: Event) -> tuple[int, int]:
        return self._offset + event.start_mark.index, self._offset + event.end_mark.index
