"""What is traced, by whoever traces: this module has no tracer but the one that does nothing, and imports none.

A trace context is carried as W3C says (`traceparent`, `tracestate`): taken from the API server's call to the webhook,
and sent with the controller's own calls to the API server.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Value = str | int | float | bool | tuple[str, ...]
Attributes = Mapping[str, Value]
Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI has them."""

ENTRY_UIDS = "serviceentry_guard.entry.uids"
"""The attribute by which an admission and what the controller made of its object find each other."""


class Span(Protocol):
    """Something that takes time. `trace` is the ID of its trace, empty where nothing is traced."""

    @property
    def trace(self) -> str: ...

    def note(self, attributes: Attributes) -> None:
        """Add what came to be known."""

    def failed(self, reason: str) -> None:
        """Say that it failed."""


class Tracer(Protocol):
    """Makes spans; what ends as an exception is noted as such and raised on."""

    def serving(self, name: str, headers: Headers) -> AbstractContextManager[Span]:
        """Time the answer to a request with these headers, as part of its caller's trace."""

    def working(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """Time work of our own, which begins a trace."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers that carry the context of this thread's or task's span."""

    def stop(self) -> None:
        """Send what was not sent yet, within seconds."""


class Untraced:
    """Traces nothing."""

    def serving(self, name: str, headers: Headers) -> AbstractContextManager[Span]:  # noqa: ARG002 - not used
        """Do nothing."""
        return _NOTHING

    def working(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:  # noqa: ARG002 - not used
        """Do nothing."""
        return _NOTHING

    def headers(self) -> Mapping[str, str]:
        """Return none."""
        return _NO_HEADERS

    def stop(self) -> None:
        """Do nothing."""


class _Nothing:
    trace = ""

    def note(self, attributes: Attributes) -> None:
        """Forget it."""

    def failed(self, reason: str) -> None:
        """Forget it."""


_NOTHING: AbstractContextManager[Span] = nullcontext(_Nothing())
_NO_HEADERS: Mapping[str, str] = {}
UNTRACED = Untraced()
