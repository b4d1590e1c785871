"""Faults between the calls of a controller: an error, a delay, an end of the process, or what others do meanwhile."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol, Unpack

import urllib3

from app.kube.errors import Unreachable
from tests.model.server import response, status
from tests.model.sessions import Anonymous, Parts, Sender
from tests.model.storage import Refused


class Killed(BaseException):
    """The process of a controller has ended in a call. Not an Exception, so that nothing catches it."""


class Kind(Enum):
    """What happens in a call."""

    REFUSED = "the connection is refused"
    LOST = "the call takes effect, and the response is lost"
    THROTTLED = "429"
    CONFLICT = "409"
    FORBIDDEN = "403"
    FAILED = "500"
    FAILED_AFTER = "the call takes effect, and the response is 500"
    GONE = "410 on a list or a watch"
    CUT = "the response ends early"
    SLOW_CONNECTION = "it takes seconds to connect"
    SLOW_RESPONSE = "the call takes effect at once, and the response takes seconds"
    LATE = "the API server receives the call at once, and carries it out seconds later"
    KILLED = "the process ends before the call"
    KILLED_AFTER = "the process ends after the call took effect"
    MEANWHILE = "others act before the call"


ERRORS = {
    Kind.THROTTLED: Refused(429, "TooManyRequests"),
    Kind.CONFLICT: Refused(409, "Conflict"),
    Kind.FORBIDDEN: Refused(403, "Forbidden"),
    Kind.FAILED: Refused(500, "InternalError"),
    Kind.FAILED_AFTER: Refused(500, "InternalError"),
    Kind.GONE: Refused(410, "Expired"),
}
ENDS = {Kind.KILLED, Kind.KILLED_AFTER}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens in a later call: the next one if `after` is 0. `seconds` is the length of a delay."""

    after: int
    kind: Kind
    seconds: float = 0.0
    meanwhile: tuple["Act", ...] = ()


class Act(Protocol):
    """Something that others do."""

    def run(self, world: "Surroundings") -> None: ...


class Surroundings(Protocol):
    """The part of the world that a call meets."""

    faults: "Faults"

    def advance(self, seconds: float) -> None: ...

    def acting(self, name: str, *, late: bool = False) -> None: ...


class Faults:
    """The faults that are still to come."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def next(self) -> Fault | None:
        """Count a call, and return its fault."""
        self.waiting = [replace(fault, after=fault.after - 1) for fault in self.waiting]
        due = next((fault for fault in self.waiting if fault.after < 0), None)
        if due:
            self.waiting.remove(due)
        return due


class FaultySession(Anonymous):
    """A session of one process, in which faults happen. `pace` is called with each call."""

    def __init__(self, inner: Sender, world: Surroundings, name: str, pace: Callable[[], None] = lambda: None) -> None:
        self.ended = False
        self._inner = inner
        self._world = world
        self._name = name
        self._pace = pace

    def send(self, method: str, target: str, **parts: Unpack[Parts]) -> urllib3.BaseHTTPResponse:
        """Send a request, unless something happens."""
        self._check()
        self._pace()
        fault = self._world.faults.next() or Fault(0, Kind.MEANWHILE)
        self._before(fault, method)
        parts["body"] = [content] if (content := b"".join(parts["body"] or ())) else None
        if fault.kind in ERRORS and fault.kind is not Kind.FAILED_AFTER and _applies(fault.kind, method, target):
            return _error(ERRORS[fault.kind])
        if fault.kind is Kind.LATE:
            self._world.advance(fault.seconds)
        self._world.acting(self._name, late=fault.kind is Kind.LATE)
        try:
            found = self._inner.send(method, target, **parts)
        finally:
            self._world.acting("")
        return self._after(fault, found, parts["timeout"], stream=parts.get("stream", False))

    def _check(self) -> None:
        if self.ended:
            raise Killed

    def _before(self, fault: Fault, method: str) -> None:
        for act in fault.meanwhile:
            act.run(self._world)
            self._check()
        if fault.kind is Kind.KILLED:
            self._end()
        if fault.kind is Kind.REFUSED or (fault.kind is Kind.CUT and method != "GET"):
            raise Unreachable("connection refused")
        if fault.kind is Kind.SLOW_CONNECTION:
            self._world.advance(fault.seconds)

    def _after(
        self, fault: Fault, found: urllib3.BaseHTTPResponse, timeout: float, *, stream: bool
    ) -> urllib3.BaseHTTPResponse:
        if fault.kind is Kind.KILLED_AFTER:
            self._end()
        if fault.kind is Kind.SLOW_RESPONSE:
            self._world.advance(min(fault.seconds, timeout))
        late = fault.kind in {Kind.LATE, Kind.SLOW_RESPONSE} and fault.seconds >= timeout
        if late or fault.kind is Kind.LOST:
            found.close()
            raise Unreachable("read timed out")
        if fault.kind is Kind.FAILED_AFTER:
            found.close()
            return _error(ERRORS[fault.kind])
        if fault.kind is Kind.CUT and stream:
            return _cut(found)
        return found

    def _end(self) -> None:
        self.ended = True
        raise Killed


class _Cut(io.BytesIO):
    """A body that breaks off."""

    def read1(self, size: int | None = -1) -> bytes:
        found = super().read1(-1 if size is None else size)
        if not found:
            raise ConnectionResetError("reset by peer")
        return found


def _cut(found: urllib3.BaseHTTPResponse) -> urllib3.HTTPResponse:
    content = found.read1(1 << 20) or b""
    found.close()
    return urllib3.HTTPResponse(_Cut(content[: len(content) * 2 // 3]), status=200, preload_content=False)


def _applies(kind: Kind, method: str, target: str) -> bool:
    if kind is Kind.GONE:
        return "continue=" in target or "watch=" in target
    return kind is not Kind.CONFLICT or method != "GET"


def _error(refused: Refused) -> urllib3.HTTPResponse:
    return response(refused.status, status(refused))
