"""Calls of a controller as a gateway sees them, and rules that answer or delay them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the controller."""

    number: int
    method: str
    resource: str
    """The plural name of the resource, such as `virtualservices`."""
    watch: bool
    headers: dict[str, str]

    @property
    def kind(self) -> str:
        """The verb and the resource, such as `PATCH virtualservices`."""
        return f"{'WATCH' if self.watch else self.method} {self.resource}"

    @classmethod
    def of(cls, number: int, method: str, target: str, headers: dict[str, str]) -> "Call":
        """Read the parts of a request."""
        address = urlsplit(target)
        parts = [part for part in address.path.split("/") if part][2 if address.path.startswith("/api/") else 3 :]
        if parts[:1] == ["namespaces"] and len(parts) > 2:
            parts = parts[2:]
        return cls(number, method, parts[0] if parts else "", "watch" in parse_qs(address.query), headers)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that does not come from the API server."""

    status: int
    reason: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """A Status object."""
        status = f'{{"kind":"Status","apiVersion":"v1","status":"Failure","code":{self.status},'
        return f'{status}"reason":"{self.reason}","message":"a fault of the test"}}'.encode()


Before = Callable[[Call], Answer | None]
After = Callable[[Call, int], None]


def every_third(answer: Answer) -> Before:
    """Answer every third call in the place of the API server."""
    return lambda call: answer if call.number % 3 == 0 else None


def slow(seconds: float) -> Before:
    """Hold back every call for some seconds."""

    def wait(_call: Call) -> None:
        time.sleep(seconds)

    return wait
