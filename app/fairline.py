"""A queue for each group, such as a namespace or a client. Queues take turns: a long one does not delay the others."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairLine(Generic[T]):
    """Holds at most `room` items, which may change; not safe for threads."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._lines: dict[str, deque[T]] = {}  # in the order of their turns
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, group: str, thing: T) -> T | None:
        """Add an item. If there is no room, the longest queue loses its newest item, which is returned."""
        lost: T | None = None
        if self._count >= self.room:
            longest = max(self._lines, key=lambda name: len(self._lines[name]), default=group)
            if len(self._lines.get(group, ())) >= len(self._lines.get(longest, ())):
                return thing
            lost = self._lines[longest].pop()
            self._count -= 1
        self._append(group, thing)
        return lost

    def take(self) -> T | None:
        """Take the first item of the queue whose turn it is."""
        if not self._lines:
            return None
        group, line = next(iter(self._lines.items()))
        thing = line.popleft()
        del self._lines[group]
        if line:
            self._lines[group] = line
        self._count -= 1
        return thing

    def _append(self, group: str, thing: T) -> None:
        self._lines.setdefault(group, deque()).append(thing)
        self._count += 1
