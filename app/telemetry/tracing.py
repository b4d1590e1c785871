"""The interface of tracing, and a tracer that does nothing. This module imports no tracing library.

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
"""The attribute that connects an admission with the reconciliation of its object."""


class Span(Protocol):
    """A span. `trace` is the ID of its trace, empty without tracing."""

    @property
    def trace(self) -> str: ...

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""

    def failed(self, reason: str) -> None:
        """Mark the span as failed."""


class Tracer(Protocol):
    """Creates spans; an exception in a span is recorded and raised again."""

    def serving(self, name: str, headers: Headers) -> AbstractContextManager[Span]:
        """Create the span of a response to a request with these headers, in the caller's trace."""

    def working(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """Create the span of the guard's own work, in a new trace."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers that carry the context of this thread's or task's span."""

    def stop(self) -> None:
        """Send the remaining spans, within seconds."""


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
