"""TLS sockets that close themselves when the peer resets the connection before the handshake.

`ssl.SSLSocket` leaves such a socket open for the garbage collector, which warns about it; warnings are errors in tests.
A server that is killed does that to who connects at this moment.
"""

import ssl


class ClosingSocket(ssl.SSLSocket):
    """The class of all TLS sockets in a test process."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Read, as `wrap_socket` does on a socket that is not connected any more."""
        try:
            return super().recv(buflen, flags)
        except ConnectionResetError:
            self.close()
            raise


def close_reset_sockets() -> None:
    """Have every client of this process use such sockets."""
    ssl.SSLContext.sslsocket_class = ClosingSocket
