"""The fields of a JSON object, read one by one. A value of a wrong type becomes a `Problem`."""

from collections.abc import Iterator
from sys import intern
from typing import Any

from app.core.resources.records import Record

JSON = Any
"""A decoded JSON value: None, bool, int, float, str, list or dict, nested."""


class Problem(Record):
    """A field of the wrong type: `path` in Kubernetes' notation, `expected` in words."""

    path: str
    expected: str


class Fields:
    """A JSON object read field by field; null counts as absent, as it does for the API server.

    Its path is made only for a problem: most objects have none.
    """

    __slots__ = ("_index", "_name", "_parent", "_problems", "values")

    def __init__(self, value: JSON, name: str = "", parent: "Fields | None" = None, index: int | None = None) -> None:
        self._name, self._parent, self._index = name, parent, index
        self._problems: list[Problem] | None = None
        if isinstance(value, dict):
            self.values: dict[str, JSON] = value
        else:
            self.values = {}
            if value is not None:
                self.report("", "an object")

    @property
    def problems(self) -> list[Problem]:
        """The problems of the whole document."""
        if self._parent is not None:
            return self._parent.problems
        if self._problems is None:
            self._problems = []
        return self._problems

    def report(self, name: str, expected: str) -> None:
        """Record that a field, or this object itself (""), has a wrong type."""
        self.problems.append(Problem(self.path(name) or "the document", expected))

    def path(self, name: str = "") -> str:
        """Return the path of a field, or of this object itself ("")."""
        own = self._name if self._index is None else f"{self._name}[{self._index}]"
        above = self._parent.path(own) if self._parent else own
        return ".".join(part for part in (above, name) if part)

    def text(self, name: str) -> str:
        """Return a string field, "" if absent."""
        value = self.values.get(name)
        if isinstance(value, str):
            return value
        if value is not None:
            self.report(name, "a string")
        return ""

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return one of the choices, "" if absent or none of them."""
        value = self.text(name)
        if not value:
            return ""
        if value in choices:
            return intern(value)  # one object for all entries
        self.report(name, f"one of {', '.join(choices)}")
        return ""

    def number(self, name: str) -> int:
        """Return an integer field, 0 if absent."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value is not None:
            self.report(name, "a whole number")
        return 0

    def texts(self, name: str) -> list[str]:
        """Return the strings of a list field."""
        found: list[str] = []
        for index, value in enumerate(self._list(name)):
            if isinstance(value, str):
                found.append(value)
            else:
                self.report(f"{name}[{index}]", "a string")
        return found

    def child(self, name: str) -> "Fields":
        """Return the object in a field, an empty one if absent."""
        return Fields(self.values.get(name), name, self)

    def children(self, name: str) -> Iterator["Fields"]:
        """Yield the objects of a list field."""
        for index, value in enumerate(self._list(name)):
            if isinstance(value, dict):
                yield Fields(value, name, self, index)
            else:
                self.report(f"{name}[{index}]", "an object")

    def _list(self, name: str) -> list[JSON]:
        value = self.values.get(name)
        if isinstance(value, list):
            return value
        if value is not None:
            self.report(name, "a list")
        return []
