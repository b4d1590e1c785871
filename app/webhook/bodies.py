"""The bodies of requests: small ones are read at once, and large ones one at a time, so that they fit into memory.

A body of some megabytes takes a hundred times the memory and the time of a usual one. Other requests wait neither for
its bytes nor for its review. Clients with large bodies take turns: another client waits for one of them at most, and
for the pause after it, however many of them one client sends.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.types import Message, Receive

from app.fairline import FairLine
from app.webhook.responses import Disconnected, RequestRejected

SMALL_BODY = 64 * 1024
"""A body of so many bytes is not large; a usual AdmissionReview has 3 to 20 KiB."""
REST, LONGEST_REST = 3.0, 1.0
"""Pause after a large request, as a multiple of the time of its review, and its maximum in seconds.

So large requests get at most a quarter of the time, and the others have the rest for themselves.
"""
BYTES_PER_SECOND = 28 * 1024 * 1024
"""The pause is at least as long as a body takes at this rate.

Reading and decoding 7 MiB keeps the processor for milliseconds. Four times a second, this delays fewer than one in a
hundred of the other requests.
"""


class LargeBodies:
    """Lets one request in and others wait, `most` in all. Beyond that, the client with the most has one rejected.

    A body that does not arrive within `seconds` is rejected too, so that it does not keep its turn from others.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._seconds = seconds
        self._most = most
        self._busy = False  # a request has its turn, or there is a pause
        self._waiting = FairLine[asyncio.Future[bool]](most)
        self._size = 0  # bytes of the request in turn so far
        self._complete: float | None = None  # since when its body is complete

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn, and let the next one in after a pause. Raises RequestRejected."""
        if self._busy:
            if not await self._wait(client):
                raise RequestRejected(HTTPStatus.SERVICE_UNAVAILABLE, "too many concurrent requests", "overloaded")
        else:
            self._waiting.served(client)
            self._begin()
        try:
            yield
        finally:
            self._end()

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

    async def _wait(self, client: str) -> bool:
        """Wait for a turn; returns False if another request got the room."""
        called: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        lost = self._waiting.put(client, called)
        if lost is not None and not lost.done():
            lost.set_result(False)
        try:
            return await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled() and called.result():  # it was called a moment ago
                self._call_next()
            raise

    def _begin(self) -> None:
        self._busy = True
        self._waiting.room = self._most - 1

    def _end(self) -> None:
        loop = asyncio.get_running_loop()
        spent = loop.time() - self._complete if self._complete else 0.0
        loop.call_later(rest(self._size, spent), self._call_next)
        self._size, self._complete = 0, None
        self._waiting.room = self._most

    def _call_next(self) -> None:
        self._busy = False
        self._waiting.room = self._most
        while called := self._waiting.take():
            if not called.done():
                self._begin()
                called.set_result(True)
                return


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
