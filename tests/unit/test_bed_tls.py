"""What is left of a connection that the peer resets before the handshake."""

import select
import socket
import ssl
import struct
import warnings

import pytest

from tests.bed.tls import ClosingSocket

SOON_MS = 5000
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def reset_by_peer() -> socket.socket:
    """A connection whose other end was reset, and knows it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        accepted.close()
    poll = select.poll()
    poll.register(client, select.POLLIN)
    assert poll.poll(SOON_MS)
    return client


def test_the_socket_is_closed() -> None:
    assert ssl.SSLContext.sslsocket_class is ClosingSocket
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        with pytest.raises(ConnectionResetError):
            ssl.create_default_context().wrap_socket(reset_by_peer(), server_hostname="127.0.0.1")
    assert [str(one.message) for one in found] == []
