"""One watch response, decoded as it arrives."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import urllib3

from app.kube.errors import Unreachable, from_status

_CHUNK = 1 << 16


class WatchEvent(msgspec.Struct, frozen=True):
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK; `object` the object after it (DELETED: before)."""

    type: str
    object: dict[str, Any]


class WatchStream:
    """The events of one watch, in order, until the server ends it.

    Iterating raises Gone if the resource version is too old, ApiError for any other ERROR event, and Unreachable if
    the connection breaks or is silent for longer than its read timeout.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self._decoder = msgspec.json.Decoder(WatchEvent)
        self._closed = False

    def __iter__(self) -> Iterator[WatchEvent]:
        try:
            for lines in self._lines():
                for event in self._decoder.decode_lines(lines):
                    if event.type == "ERROR":
                        raise from_status(event.object)
                    yield event
        except (urllib3.exceptions.HTTPError, OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            if not self._closed:
                raise Unreachable(f"the watch connection broke: {error}") from error
        finally:
            self._response.close()

    def close(self) -> None:
        """End the iteration, from any thread, even while it waits for the next event."""
        self._closed = True
        # Closing a socket does not wake a thread that reads from it, shutting it down does. It raises when the
        # response has ended by itself.
        with suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        while chunk := self._response.read1(_CHUNK):
            complete, newline, tail = chunk.rpartition(b"\n")
            if newline:
                yield rest + complete
                rest = tail
            else:
                rest += chunk
