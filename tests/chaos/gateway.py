"""An HTTPS proxy between one controller and the API server. Faults of the connection are its rules.

It terminates TLS with a certificate of the control plane's authority, and calls the API server with the client
certificate of its own user. So the audit log names the controller of each write, and a rule can answer in the place
of the API server, delay a call, hold back the events of a watch, or end the controller between two calls.
"""

import ssl
import threading
import time
from contextlib import suppress
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from tests.bed.control_plane import ControlPlane
from tests.bed.kubeconfig import write_kubeconfig
from tests.bed.pki import KeyPair
from tests.chaos.calls import After, Answer, Before, Call

HOST = "127.0.0.1"
CHUNK = 1 << 16
LONGEST_WAIT = 400.0
"""Longer than any watch of the product lasts."""
AT_FIRST = "first"
HOP_BY_HOP = {"connection", "host", "transfer-encoding", "keep-alive"}


class Gateway:
    """Listens on `port` of 127.0.0.1 for the controller of a user. Its rules can be changed at any time."""

    def __init__(self, plane: ControlPlane, user: str) -> None:
        self.user = user
        self.target = plane.port
        """The port of the API server that new connections lead to."""
        self.before: Before = lambda _call: None
        """Called before a call reaches the API server; an Answer takes its place."""
        self.after: After = lambda _call, _status: None
        """Called when the API server has answered, before the controller knows it."""
        self.flowing = threading.Event()
        """Clear it to hold back the events of all watches."""
        self.flowing.set()
        self.delay = 0.0
        """Seconds by which events of watches come later."""
        self._cuts = 0
        self.generation = 0
        self._numbers = count(1)
        self._tls = _client_tls(plane, plane.authority_of_bed.client(user, [f"{user}s"]))
        self._server = _Server((HOST, 0), _Handler)
        self._server.gateway = self
        self.port: int = self._server.server_address[1]
        self.serve_as(plane.authority_of_bed.serving(HOST), plane.folder)
        self.kubeconfig = plane.folder / f"{user}.kubeconfig"
        user_pair = plane.authority_of_bed.client(user, [f"{user}s"])
        self.write_kubeconfig(plane.authority_of_bed.certificate, user_pair, AT_FIRST)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], name=user, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address for the controller."""
        return f"https://{HOST}:{self.port}"

    def serve_as(self, pair: KeyPair, folder: Path) -> None:
        """Present another certificate to new connections."""
        path = folder / f"gateway-{self.user}.pem"
        path.touch(mode=0o600)
        path.write_bytes(pair.certificate + pair.private_key)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        self._server.tls = context

    def write_kubeconfig(self, authority: bytes, user: KeyPair, token: str) -> None:
        """Tell the controller whom to trust, and what to present. The API server never sees the token."""
        written = write_kubeconfig(self.kubeconfig.with_suffix(".new"), self.url, authority, user)
        document = yaml.safe_load(written.read_text())
        document["users"][0]["user"]["token"] = token
        written.write_text(yaml.safe_dump(document))
        written.rename(self.kubeconfig)

    def cut_watches(self) -> None:
        """End every watch that is open now, in the middle of its response."""
        self._cuts += 1

    def cut_connections(self) -> None:
        """End the watches, and every other connection before its next call."""
        self.cut_watches()
        self.generation += 1

    @property
    def cuts(self) -> int:
        """How often watches were cut."""
        return self._cuts

    def next_call(self, method: str, target: str, headers: dict[str, str]) -> Call:
        """Number a request."""
        return Call.of(next(self._numbers), method, target, headers)

    def connect(self, timeout: float = LONGEST_WAIT) -> HTTPSConnection:
        """A connection to the API server, as the user."""
        return HTTPSConnection(HOST, self.target, timeout=timeout, context=self._tls)

    def close(self) -> None:
        """End it, with all that is open."""
        self.cut_watches()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _client_tls(plane: ControlPlane, pair: KeyPair) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=plane.authority_of_bed.certificate.decode())
    path = plane.folder / "gateway-client.pem"
    path.touch(mode=0o600)
    path.write_bytes(pair.certificate + pair.private_key)
    context.load_cert_chain(path)
    path.unlink()
    return context


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    gateway: Gateway
    tls: ssl.SSLContext

    def handle_error(self, *_: Any) -> None:
        """A controller that was killed is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        self.request.settimeout(LONGEST_WAIT)
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.generation = self.server.gateway.generation
        super().setup()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        self.request.close()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def __getattr__(self, name: str) -> Any:
        """Every method of HTTP is passed on: http.server looks for `do_GET` and its like."""
        if name.startswith("do_"):
            return self._pass
        raise AttributeError(name)

    def _pass(self) -> None:
        gateway = self.server.gateway
        if self.generation != gateway.generation:
            self.close_connection = True
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        call = gateway.next_call(self.command, self.path, headers)
        if answer := gateway.before(call):
            self._answer(answer)
            return
        headers.pop("Authorization", None)
        connection = gateway.connect()
        try:
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            gateway.after(call, response.status)
            self._stream(response) if call.watch else self._whole(response)
        except (OSError, HTTPException):
            self.close_connection = True
        finally:
            connection.close()

    def _answer(self, answer: Answer) -> None:
        self._head(answer.status, {**answer.headers, "Content-Type": "application/json"}, len(answer.body))
        self.wfile.write(answer.body)

    def _whole(self, response: HTTPResponse) -> None:
        content = response.read()
        self._head(response.status, dict(response.headers), len(content))
        self.wfile.write(content)

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {*HOP_BY_HOP, "content-length", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _stream(self, response: HTTPResponse) -> None:
        gateway, cuts = self.server.gateway, self.server.gateway.cuts
        self.send_response(response.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces = _Pieces(response)
        while gateway.cuts == cuts:
            gateway.flowing.wait(0.1)
            if not gateway.flowing.is_set():
                continue
            piece = pieces.take(0.1)
            if piece is None:
                continue
            if gateway.delay:
                time.sleep(gateway.delay)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if not piece:
                return
        self.close_connection = True


class _Pieces:
    """Reads a response in a thread of its own, so that a watch can be cut while it is silent."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self._changed = threading.Condition()
        self._content = b""
        self._ended = False
        threading.Thread(target=self._read, name="pieces", daemon=True).start()

    def take(self, seconds: float) -> bytes | None:
        """What came since, empty at the end; None if nothing came within some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._content or self._ended, seconds)
            content, self._content = self._content, b""
            return content or (b"" if self._ended else None)

    def _read(self) -> None:
        with suppress(OSError, HTTPException, ValueError, AttributeError):
            while piece := self._response.read1(CHUNK):
                with self._changed:
                    self._content += piece
                    self._changed.notify()
        with self._changed:
            self._ended = True
            self._changed.notify()
