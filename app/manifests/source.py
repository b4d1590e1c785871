"""A file that was read, and where everything in it stands."""

import re
from bisect import bisect_left
from functools import cached_property

from app.core.routes.survey import Sourced
from app.manifests.files import File
from app.manifests.layout import Node, layout
from app.manifests.lists import member_field


class Source:
    """The places of a file's documents; one of them at a time is laid out, when a place in it is asked for."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.spans: list[tuple[int, int]] = []
        """Where each document starts and ends, in characters."""
        self._laid: tuple[int, Node] | None = None

    def line(self, offset: int) -> int:
        """Return the line, counted from 1, of a place in the text."""
        return bisect_left(self._breaks, offset) + 1

    def root(self, document: int) -> Node:
        """Return the layout of a document."""
        if self._laid is None or self._laid[0] != document:
            self._laid = document, layout(self.file.text, *self.spans[document])
        return self._laid[1]

    def node(self, one: Sourced) -> Node:
        """Return the layout of a manifest that was read from here; of a whole List, if its items stand elsewhere."""
        root = self.root(one.document)
        field = member_field(root.fields)
        items = root.fields[field].value.items if field in root.fields else ()
        return root if one.item is None or one.item >= len(items) else items[one.item]

    @cached_property
    def mentions_entries(self) -> bool:
        """Whether the kind ServiceEntry stands anywhere in the text: if not, no time is spent on looking for it."""
        return "ServiceEntry" in self.file.text

    @cached_property
    def _breaks(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.file.text)]
