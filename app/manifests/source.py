"""A file that was read, with the positions of its content."""

import re
from bisect import bisect_left
from functools import cached_property

from app.core.routes.survey import Sourced
from app.manifests.files import File
from app.manifests.layout import Node, layout
from app.manifests.lists import member_field


class Source:
    """The positions of a file's documents. The layout of one document at a time is computed on demand."""

    def __init__(self, file: File) -> None:
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

    def node(self, manifest: Sourced) -> Node:
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
    def _breaks(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.file.text)]
