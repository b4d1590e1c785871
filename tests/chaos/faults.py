"""Faults: small objects with a name, a beginning and an end. One table has all of them.

A fault is a generator function, as for a context manager: what is before `yield` begins it, what follows ends it. The
stream of writes runs through both. `@fault` puts it into the table.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from tests.chaos.arena import Arena
from tests.chaos.stream import Stream


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault can reach: the arena, and the stream, for faults that have to change the model too."""

    arena: Arena
    stream: Stream
    notes: list[str] = field(default_factory=list)
    """What only this fault shows, for the page."""
    problems: list[str] = field(default_factory=list)
    """What only this fault can find to be wrong."""


Begin = Callable[[Scene], AbstractContextManager[None]]


def possible() -> str | None:
    """A fault that needs nothing from the machine."""
    return None


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault. `seconds` is how long it lasts under the stream, `patience` how long the repair may take."""

    part: str
    name: str
    begin: Begin
    seconds: float
    patience: float
    quick: bool
    """Whether the short form has it."""
    forced: frozenset[str]
    """Outcomes that are the fault itself."""
    complaint: Callable[[], str | None]
    """Says what the machine lacks for it."""

    @property
    def title(self) -> str:
        """The part and the name."""
        return f"{self.part}: {self.name}"


TABLE: list[Fault] = []


def fault(
    part: str,
    name: str,
    *,
    seconds: float = 3.0,
    patience: float = 90.0,
    quick: bool = False,
    forced: tuple[str, ...] = (),
    complaint: Callable[[], str | None] = possible,
) -> Callable[[Callable[[Scene], Iterator[None]]], Fault]:
    """Put a generator function into the table."""

    def register(function: Callable[[Scene], Iterator[None]]) -> Fault:
        begin = contextmanager(function)
        made = Fault(part, name, begin, seconds, patience, quick, frozenset(forced), complaint)
        TABLE.append(made)
        return made

    return register
