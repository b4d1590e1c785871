"""The server's side of gRPC without encryption: it answers every unary call with one empty message."""

import asyncio
from typing import Protocol

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

EMPTY_MESSAGE = bytes(5)
"""Not compressed, length 0."""


class Upstream(Protocol):
    """What a connection needs of the server that it belongs to."""

    def cuts_this_one(self, name: str) -> bool: ...
    def connected(self, transport: asyncio.WriteTransport) -> None: ...
    def disconnected(self, transport: asyncio.WriteTransport) -> None: ...


class GrpcConnection(asyncio.Protocol):
    """One HTTP/2 connection."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._h2 = H2Connection(H2Configuration(client_side=False))
        self._paths = dict[int, str]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._upstream.connected(transport)
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def connection_lost(self, _error: Exception | None) -> None:
        self._upstream.disconnected(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self._transport.abort()
            return
        reset = {event.stream_id for event in events if isinstance(event, StreamReset)}
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
        self._h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self._h2.send_data(stream, EMPTY_MESSAGE)
        self._h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        return True
