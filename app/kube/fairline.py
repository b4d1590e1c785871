"""A queue for each namespace. Queues take turns, so that a long one does not delay the others."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairLine(Generic[T]):
    """Holds at most `room` items; not safe for threads."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._lines: dict[str, deque[T]] = {}  # in the order of their turns
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, namespace: str, thing: T) -> bool:
        """Add an item. If there is no room, the longest queue loses its newest item; returns whether that happened."""
        if self._count >= self._room:
            longest = max(self._lines, key=lambda name: len(self._lines[name]), default=namespace)
            if len(self._lines.get(namespace, ())) >= len(self._lines.get(longest, ())):
                return True
            self._lines[longest].pop()
            self._count -= 1
            self._append(namespace, thing)
            return True
        self._append(namespace, thing)
        return False

    def take(self) -> T | None:
        """Take the first item of the queue whose turn it is."""
        if not self._lines:
            return None
        namespace, line = next(iter(self._lines.items()))
        thing = line.popleft()
        del self._lines[namespace]
        if line:
            self._lines[namespace] = line
        self._count -= 1
        return thing

    def _append(self, namespace: str, thing: T) -> None:
        self._lines.setdefault(namespace, deque()).append(thing)
        self._count += 1
