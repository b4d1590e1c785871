"""What Istio's agent does for a sidecar that originates TLS: tell it whom to trust, over Envoy's secret discovery.

The one message that is needed is written by hand (protocol buffers: a tag, a length, the bytes); its fields are those
of envoy.service.discovery.v3.DiscoveryResponse and envoy.extensions.transport_sockets.tls.v3.Secret.
"""

import asyncio

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived

from tests.bed.processes import free_port
from tests.mesh.networks import HERE

NAME = "file-root:system"
"""What istiod calls the authorities of the system, which it means where a DestinationRule names none."""
CLUSTER = "sds-grpc"
"""The cluster of the bootstrap where it looks for them."""
TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


class Secrets:
    """A server that trusts one authority (PEM), on a port of HERE."""

    def __init__(self, authority: bytes) -> None:
        self.port = free_port()
        self._response = _framed(_response(authority))

    async def open(self) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: _Connection(self._response), HERE, self.port)


class _Connection(asyncio.Protocol):
    """One HTTP/2 connection; each stream is answered once, and stays open."""

    def __init__(self, response: bytes) -> None:
        self._h2 = H2Connection(H2Configuration(client_side=False))
        self._response = response
        self._waiting = set[int]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self._waiting.add(event.stream_id)
            elif isinstance(event, DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self._answer(event.stream_id)
        self._transport.write(self._h2.data_to_send())

    def _answer(self, stream: int) -> None:
        """What comes after the first request only acknowledges the answer."""
        if stream in self._waiting:
            self._waiting.remove(stream)
            self._h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
            self._h2.send_data(stream, self._response)


def _response(authority: bytes) -> bytes:
    trusted = _field(1, _field(2, authority))
    secret = _field(1, NAME.encode()) + _field(4, trusted)
    resource = _field(1, TYPE.encode()) + _field(2, secret)
    return _field(1, b"1") + _field(2, resource) + _field(4, TYPE.encode()) + _field(5, b"1")


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes, text or another message."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _framed(message: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, with its length."""
    return b"\0" + len(message).to_bytes(4, "big") + message
