"""What Istio's agent does for a sidecar that originates TLS: tell it whom to trust, over Envoy's secret discovery.

The one message that is needed is written by hand (protocol buffers: a tag, a length, the bytes); its fields are those
of envoy.service.discovery.v3.DiscoveryResponse and envoy.extensions.transport_sockets.tls.v3.Secret.
"""

import asyncio
from collections.abc import Mapping

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived

from tests.bed.pki import KeyPair
from tests.bed.ports import free_port
from tests.mesh.networks import HERE

NAME = "file-root:system"
"""What istiod calls the authorities of the system, which it means where a DestinationRule names none."""
WORKLOAD, ROOT = "default", "ROOTCA"
"""What istiod calls the certificate of a workload, and the authorities of the mesh."""
CLUSTER = "sds-grpc"
"""The cluster of the bootstrap where it looks for them."""
TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


class Secrets:
    """A server of secrets by their names, on a port of HERE; without a pair, one that trusts an authority (PEM)."""

    def __init__(self, authority: bytes, pair: KeyPair | None = None) -> None:
        self.port = free_port()
        secrets = {NAME: _trusted(NAME, authority)}
        if pair:
            secrets = {ROOT: _trusted(ROOT, authority), WORKLOAD: _certificate(WORKLOAD, pair)}
        self._responses = {_field(3, name.encode()): _framed(_response(secret)) for name, secret in secrets.items()}

    async def open(self) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: _Connection(self._responses), HERE, self.port)


class _Connection(asyncio.Protocol):
    """One HTTP/2 connection; each stream is answered once, and stays open."""

    def __init__(self, responses: Mapping[bytes, bytes]) -> None:
        self._h2 = H2Connection(H2Configuration(client_side=False))
        self._responses = responses
        self._waiting = dict[int, bytes]()  # what came of each request that was not answered yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self._waiting[event.stream_id] = b""
            elif isinstance(event, DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self._answer(event.stream_id, event.data)
        self._transport.write(self._h2.data_to_send())

    def _answer(self, stream: int, request: bytes) -> None:
        """What comes after the first request only acknowledges the answer."""
        if stream not in self._waiting:
            return
        self._waiting[stream] = request = self._waiting[stream] + request
        complete = len(request) >= HEAD + int.from_bytes(request[1:HEAD], "big")
        if complete and (response := next((text for name, text in self._responses.items() if name in request), None)):
            del self._waiting[stream]
            self._h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
            self._h2.send_data(stream, response)


def _trusted(name: str, authority: bytes) -> bytes:
    return _field(1, name.encode()) + _field(4, _field(1, _field(2, authority)))


def _certificate(name: str, pair: KeyPair) -> bytes:
    held = _field(1, _field(2, pair.certificate)) + _field(2, _field(2, pair.private_key))
    return _field(1, name.encode()) + _field(2, held)


def _response(secret: bytes) -> bytes:
    resource = _field(1, TYPE.encode()) + _field(2, secret)
    return _field(1, b"1") + _field(2, resource) + _field(4, TYPE.encode()) + _field(5, b"1")


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes, text or another message."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


HEAD = 5
"""Bytes before a message of gRPC: whether it is compressed, and its length."""


def _framed(message: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, with its length."""
    return b"\0" + len(message).to_bytes(4, "big") + message
