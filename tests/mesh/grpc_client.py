"""The client's side of gRPC without encryption: one connection, one unary call at a time."""

import socket
import time
from dataclasses import dataclass, field

from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

from tests.mesh.application import PATIENCE, Outcome

EMPTY_MESSAGE = bytes(5)
"""Not compressed, length 0."""


@dataclass
class _Reply:
    headers: dict[str, str] = field(default_factory=dict)
    ended: bool = False


class GrpcApplication:
    """A client of one host, which connects again only where its connection was lost."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._connect()

    def send(self, _method: str, path: str) -> Outcome:
        """Make a call, which is a POST always; what is not status 0 is an error."""
        begun = time.monotonic()
        try:
            reply = self._call(path)
        except OSError as error:
            self._socket.close()
            self._connect()
            return Outcome(time.monotonic() - begun, error=f"connection lost ({type(error).__name__})")
        status = reply.headers.get("grpc-status", f"HTTP {reply.headers.get(':status')}")
        error_text = "" if status == "0" else f"grpc-status {status} {reply.headers.get('grpc-message', '')}".strip()
        return Outcome(time.monotonic() - begun, error=error_text)

    def _connect(self) -> None:
        self._socket = socket.create_connection((self._host, self._port), PATIENCE)
        self._h2 = H2Connection()
        self._h2.initiate_connection()

    def _call(self, path: str) -> _Reply:
        stream = self._h2.get_next_available_stream_id()
        headers = [
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", f"{self._host}:{self._port}"),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ]  # fmt: skip
        self._h2.send_headers(stream, headers)
        self._h2.send_data(stream, EMPTY_MESSAGE, end_stream=True)
        reply = _Reply()
        while not reply.ended:
            self._socket.sendall(self._h2.data_to_send())
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("the connection was closed")
            for event in self._h2.receive_data(data):
                self._take(event, reply)
        self._socket.sendall(self._h2.data_to_send())
        return reply

    def _take(self, event: object, reply: _Reply) -> None:
        if isinstance(event, ResponseReceived | TrailersReceived):
            reply.headers |= {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded | StreamReset):
            reply.ended = True
        elif isinstance(event, ConnectionTerminated):
            raise ConnectionResetError("the connection is going away")
