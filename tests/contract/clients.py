"""Clients that speak HTTP by hand: they send what no library would, as slowly as a test wants."""

import contextlib
import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REVIEW: dict[str, Any] = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": "7d1ff8a9-2d5c-4b8e-9c1f-3b1b5b0f7a11",
        "kind": {"group": "networking.istio.io", "version": "v1", "kind": "ServiceEntry"},
        "operation": "CREATE",
        "namespace": "team",
        "name": "external",
        "userInfo": {"username": "jane"},
        "object": {
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": {"name": "external", "namespace": "team"},
            "spec": {
                "hosts": ["api.example.com"],
                "location": "MESH_EXTERNAL",
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
                "resolution": "NONE",
            },
        },
    },
}
BODY = json.dumps(REVIEW).encode()


def request(
    body: bytes = BODY, path: str = "/mutate", method: str = "POST", length: int | None = None, **headers: str
) -> bytes:
    """Spell a request; `length` is what it says of its body, if not the truth."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: webhook",
        f"Content-Length: {len(body) if length is None else length}",
        *(
            f"{name.replace('_', '-')}: {value}"
            for name, value in {"content_type": "application/json", **headers}.items()
        ),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


CHUNKED_HEAD = (
    b"POST /mutate HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    """Spell a chunk of a body that does not say how long it will be."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Client:
    """One TLS connection; verifies the server against the authority. `source` is the client's own address."""

    def __init__(self, address: str, authority: Path, timeout: float = 10.0, source: str = "") -> None:
        host, _, port = address.rpartition(":")
        context = ssl.create_default_context(cafile=authority)
        context.set_alpn_protocols(["h2", "http/1.1"])
        plain = socket.create_connection((host, int(port)), timeout, (source, 0))
        self.socket = context.wrap_socket(plain, server_hostname=host)

    def __enter__(self) -> Self:
        """Keep it open for a block."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def receive(self, method: str = "POST") -> Response:
        """Read one response; raises OSError or http.client.HTTPException where there is none."""
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        body = response.read()
        return Response(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def ask(self, data: bytes | None = None) -> Response:
        """Send a request and read its response."""
        self.send(request() if data is None else data)
        return self.receive()

    def closed(self, within: float = 0.0) -> bool:
        """Say whether the server ends the connection in that time, rather than sending nothing."""
        patience = self.socket.gettimeout()
        self.socket.settimeout(within)
        try:
            assert self.socket.recv(1) == b""
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except ConnectionError:
            return True
        else:
            return True
        finally:
            self.socket.settimeout(patience)


def drip(client: Client, seconds: float) -> bool:
    """Send a byte every 50 ms until the time is up; say whether the server ended the connection before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if client.closed(0.05):
            return True
        with contextlib.suppress(OSError):
            client.send(b"x")
    return False


def get(address: str, path: str, method: str = "GET") -> Response:
    """Ask over plain HTTP, on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path)
        response = connection.getresponse()
        return Response(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
