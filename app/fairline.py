"""A queue for each group, such as a namespace or a client. Queues take turns: a long one does not delay the others."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairLine(Generic[T]):
    """Holds at most `room` items, which may change; not safe for threads."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._lines: dict[str, deque[T]] = {}  # in the order of their turns; none is empty
        self._count = 0
        self._last: str | None = None

    def __len__(self) -> int:
        return self._count

    def put(self, group: str, thing: T) -> T | None:
        """Add an item. Without room, the longest queue loses its newest item, which is returned.

        Queues that differ by one item count as equally long: then the new item itself is returned.
        """
        lost: T | None = None
        if self._count >= self.room:
            longest = max(self._lines.values(), key=len, default=deque[T]())
            if len(longest) <= len(self._lines.get(group, ())) + 1:
                return thing
            lost = longest.pop()
            self._count -= 1
        self._lines.setdefault(group, deque()).append(thing)
        self._count += 1
        return lost

    def take(self) -> T | None:
        """Take the first item of the queue whose turn it is: another one than the last time, if another one waits."""
        if not self._lines:
            return None
        group = next((each for each in self._lines if each != self._last), next(iter(self._lines)))
        line = self._lines.pop(group)
        thing = line.popleft()
        if line:
            self._lines[group] = line
        self._count -= 1
        self._last = group
        return thing

    def served(self, group: str) -> None:
        """Note that a group had a turn without waiting."""
        self._last = group
