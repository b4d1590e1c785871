"""The client's side of gRPC without encryption: one connection, one call at a time, whose messages are counted."""

import socket
import time
from dataclasses import dataclass, field

from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

from tests.mesh.application import PATIENCE, Outcome
from tests.mesh.networks import Pod

EMPTY_MESSAGE = bytes(5)
"""Not compressed, length 0."""


@dataclass
class _Reply:
    headers: dict[str, str] = field(default_factory=dict)
    messages: int = 0
    reset: bool = False
    ended: bool = False

    @property
    def error(self) -> str:
        """What went wrong; what is not status 0 is an error."""
        if self.reset:
            return f"stream reset after {self.messages} messages"
        status = self.headers.get("grpc-status", f"HTTP {self.headers.get(':status')}")
        return "" if status == "0" else f"grpc-status {status} {self.headers.get('grpc-message', '')}".strip()


class GrpcApplication:
    """A client of one host in a pod, which connects again only where its connection was lost."""

    def __init__(self, pod: Pod, host: str, port: int) -> None:
        self._pod, self._host, self._port = pod, host, port
        self._connect()

    def send(self, _method: str, path: str) -> Outcome:
        """Make a call, which is a POST always, and wait for its end."""
        begun = time.monotonic()
        try:
            reply = self._call(path)
        except OSError as error:
            self._socket.close()
            self._connect()
            return Outcome(time.monotonic() - begun, error=f"connection lost ({type(error).__name__})")
        return Outcome(time.monotonic() - begun, body=f"{reply.messages} messages", error=reply.error)

    def _connect(self) -> None:
        with self._pod.inside():
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
            reply.messages += len(event.data) // len(EMPTY_MESSAGE)
        elif isinstance(event, StreamEnded | StreamReset):
            reply.ended, reply.reset = True, isinstance(event, StreamReset)
        elif isinstance(event, ConnectionTerminated):
            raise ConnectionResetError("the connection is going away")
