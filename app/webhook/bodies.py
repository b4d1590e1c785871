"""The bodies of requests: small ones are read at once, and large ones one at a time, so that they fit into memory.

A body of some megabytes takes a hundred times the memory and the time of a usual one. Other requests wait neither for
its bytes nor for its review.
"""

import asyncio
from http import HTTPStatus
from types import TracebackType

from starlette.types import Message, Receive

from app.webhook.responses import Disconnected, RequestRejected

SMALL_BODY = 64 * 1024
"""A body of so many bytes is not large; a usual AdmissionReview has 3 to 20 KiB."""
REST, LONGEST_REST = 3.0, 1.0
"""Pause after a large request, as a multiple of the time of its review, and its maximum in seconds.

So a client that sends one after another uses a quarter of the time, and the others have the rest for themselves.
"""
BYTES_PER_SECOND = 28 * 1024 * 1024
"""Large bodies are read no faster than this. Reading and decoding some megabytes keeps the processor for milliseconds,
which must not delay one in a hundred of the other requests."""


class LargeBodies:
    """Lets one request in and others wait, `most` in all. One that comes then is rejected.

    A body that does not arrive within `seconds` is rejected too, so that it does not keep its turn from others.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._most = most
        self._count = 0
        self._size = 0  # bytes of the request in turn so far
        self._complete: float | None = None  # since when its body is complete

    async def __aenter__(self) -> None:
        """Wait for a turn. Raises RequestRejected."""
        if self._count >= self._most:
            raise RequestRejected(HTTPStatus.SERVICE_UNAVAILABLE, "too many concurrent requests", "overloaded")
        self._count += 1
        try:
            await self._turn.acquire()
        except BaseException:
            self._count -= 1
            raise

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Let the next one in, after a pause."""
        self._count -= 1
        loop = asyncio.get_running_loop()
        spent = loop.time() - self._complete if self._complete else 0.0
        loop.call_later(rest(self._size, spent), self._turn.release)
        self._size, self._complete = 0, None

    async def read(self, receive: Receive, limit: int) -> bytes | bytearray:
        """Read a body in time. Raises RequestRejected and Disconnected."""

        async def counted() -> Message:
            message = await receive()
            self._size += len(message.get("body", b""))
            return message

        try:
            async with asyncio.timeout(self._seconds):
                body = await read(counted, limit)
        except TimeoutError:
            reason = f"the body did not arrive within {self._seconds:g} s"
            raise RequestRejected(HTTPStatus.REQUEST_TIMEOUT, reason) from None
        self._complete = asyncio.get_running_loop().time()
        return body


def rest(size: int, spent: float) -> float:
    """Return the pause in seconds after a body of so many bytes, whose review took so many seconds."""
    return min(LONGEST_REST, max(REST * spent, size / BYTES_PER_SECOND))


async def read(receive: Receive, limit: int) -> bytes | bytearray:
    """Read a body of at most `limit` bytes. Raises RequestRejected and Disconnected."""
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if len(body) > limit:
            raise too_large(limit)
        if not message["more_body"]:
            return body
    raise Disconnected


def too_large(limit: int) -> RequestRejected:
    """Return the rejection of a body that is larger than a limit."""
    return RequestRejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {limit} bytes")
