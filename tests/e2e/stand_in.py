"""Something that answers in a webhook's place: with any certificate, without TLS, or not at all."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.bed.pki import KeyPair


class Handler(BaseHTTPRequestHandler):
    """Answers whatever it is asked with what is no review."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Welcome</html>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that does not trust it is no error here."""


@contextmanager
def answering(folder: Path, pair: KeyPair | None = None) -> Iterator[int]:
    """Serve HTTP, over TLS where there is a pair, on the port that is given."""
    with Server(("127.0.0.1", 0), Handler) as server:
        if pair:
            (folder / "stand-in.crt").write_bytes(pair.certificate)
            (folder / "stand-in.key").write_bytes(pair.private_key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "stand-in.crt", folder / "stand-in.key")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def hanging_up() -> Iterator[int]:
    """Take connections and close them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def silent() -> Iterator[int]:
    """Take connections, and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
