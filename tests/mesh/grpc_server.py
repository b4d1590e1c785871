"""The server's side of gRPC without encryption: it answers a call with one empty message, or with a stream of them."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

EMPTY_MESSAGE = bytes(5)
"""Not compressed, length 0."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a stream goes: seconds before its headers, between messages, and to its end."""

    first: float
    pause: float
    seconds: float


class Upstream(Protocol):
    """What a connection needs of the server that it belongs to."""

    pace: Pace | None

    def cuts_this_one(self, name: str) -> bool: ...
    def connected(self, transport: asyncio.WriteTransport) -> None: ...
    def disconnected(self, transport: asyncio.WriteTransport) -> None: ...


class GrpcConnection(asyncio.Protocol):
    """One HTTP/2 connection."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._h2 = H2Connection(H2Configuration(client_side=False))
        self._paths = dict[int, str]()
        self._streams = dict[int, asyncio.Task[None]]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._upstream.connected(transport)
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def connection_lost(self, _error: Exception | None) -> None:
        self._upstream.disconnected(self._transport)
        for task in self._streams.values():
            task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self._transport.abort()
            return
        reset = {event.stream_id for event in events if isinstance(event, StreamReset)}
        for stream in reset & self._streams.keys():
            self._streams[stream].cancel()
        for event in events:
            if isinstance(event, RequestReceived):
                self._paths[event.stream_id] = dict(event.headers)[b":path"].decode()
            elif isinstance(event, StreamEnded) and event.stream_id not in reset and not self._answer(event.stream_id):
                self._transport.close()
                return
        self._transport.write(self._h2.data_to_send())

    def _answer(self, stream: int) -> bool:
        """Answer one call; False where the connection is cut instead."""
        if self._upstream.cuts_this_one(self._paths.pop(stream)):
            return False
        if self._upstream.pace:
            self._streams[stream] = asyncio.create_task(self._speak(stream, self._upstream.pace))
            return True
        self._begin(stream)
        self._h2.send_data(stream, EMPTY_MESSAGE)
        self._end(stream)
        return True

    async def _speak(self, stream: int, pace: Pace) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + pace.seconds
        await asyncio.sleep(pace.first)
        self._begin(stream)
        while loop.time() < end:
            self._h2.send_data(stream, EMPTY_MESSAGE)
            self._transport.write(self._h2.data_to_send())
            await asyncio.sleep(pace.pause)
        self._end(stream)
        self._transport.write(self._h2.data_to_send())

    def _begin(self, stream: int) -> None:
        self._h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])

    def _end(self, stream: int) -> None:
        self._h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
