"""HTTP/1.1 on uvicorn with limits on the time of a request, on the size of its headers, and on stopping."""

import asyncio
import contextlib
import logging
import socket
import ssl
from asyncio import TimerHandle
from dataclasses import dataclass
from typing import Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.serving.acceptor import Acceptor
from app.serving.client_certificates import PeerCertificate
from app.serving.incomplete import INCOMPLETE_LIMIT, Incomplete

HEAD_LIMIT = 64 * 1024
"""Maximum number of bytes of a request outside its body: request line, headers, chunk sizes, trailers."""
GOODBYE = 1.0
"""Seconds to wait for the TLS shutdown of the client.

Enough for a client that is still sending to read the error response; asyncio's 30 would delay every stop.
"""
ANY, ANY_IPV4 = "::", "0.0.0.0"  # noqa: S104 - a pod is reached by its own address, which is known only at run time
"""All addresses of both families, and of IPv4 where a machine has no IPv6."""
CLOSE = (b"connection", b"close")
CERTIFICATE = "client_certificate"
"""Where the state of a request has the verified certificate of the client."""

log = logging.getLogger(__name__)


class ListenError(Exception):
    """The process cannot listen on an address; the message has the address and the reason."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a connection may take, in seconds."""

    keep_alive: float = 120.0
    """Idle between an answer and the next request."""
    receive: float = 10.0
    """From the first byte of a request to its last; also for a handshake, and from it to a first request."""
    stop: float = 5.0
    """For requests under way once a listener stops."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection on which each request must be complete within the receive deadline."""

    def __init__(self, listener: "Listener") -> None:
        super().__init__(listener.config, listener.server_state, {})
        self._listener = listener
        self._allowance = listener.bounds.receive
        self._deadline: TimerHandle | None = None
        self._overhead = 0
        self._certificate: PeerCertificate = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Expect a first request."""
        super().connection_made(transport)
        self._certificate = transport.get_extra_info("peercert") or {}
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._request_received()
        super().connection_lost(exc)
        self._listener.connection_ended()

    def data_received(self, data: bytes) -> None:
        """Expect a complete request after the first byte.

        uvicorn ends its keep-alive timer even on bytes that begin no request.
        """
        self._expect_request()
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > HEAD_LIMIT and not self.transport.is_closing():
            log.warning("closed connection from %s: request headers larger than %d bytes", self.client, HEAD_LIMIT)
            self.send_400_response(f"The request headers are larger than {HEAD_LIMIT} bytes.")

    def on_message_begin(self) -> None:
        """Expect the rest of a pipelined request."""
        super().on_message_begin()
        self.scope["state"][CERTIFICATE] = self._certificate
        self._expect_request()

    def on_body(self, body: bytes) -> None:
        """Exclude the part that the application limits itself."""
        self._overhead -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Do not limit the time of a response and the idle time after it; uvicorn does."""
        self._request_received()
        super().on_message_complete()
        if (
            self.cycle.response_complete
        ):  # the response came before the request was complete: the bytes after it ended the idle timer
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _expect_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._allowance, self._give_up)
            self._listener.incomplete.add(self)

    def _request_received(self) -> None:
        self._overhead = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._listener.incomplete.discard(self)

    @property
    def address(self) -> str:
        """The address of the client, without its port."""
        return self.client[0] if self.client else ""

    def abort(self) -> None:
        """Close it at once."""
        self.transport.abort()

    def _give_up(self) -> None:
        log.warning("closed connection from %s: no complete request within %g s", self.client, self._allowance)
        self.abort()


def _bound(host: str, port: int, backlog: int) -> socket.socket:
    """Return a socket that listens. `::` takes both families: asyncio's own socket for it would refuse IPv4."""
    if host == ANY and not socket.has_dualstack_ipv6():
        host = ANY_IPV4
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=backlog, dualstack_ipv6=host == ANY)
    listening.setblocking(False)
    return listening


class Listener(uvicorn.Server):
    """One address on which an application is served while the `async with` block runs.

    Handles no signals, and listens only on the given port (0: any free one). Raises ListenError on entry.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, bounds: Timeouts, tls: ssl.SSLContext | None = None) -> None:
        self.bounds = bounds
        self.incomplete = Incomplete(INCOMPLETE_LIMIT)
        self._ended = asyncio.Event()
        super().__init__(
            uvicorn.Config(
                app,
                host,
                port,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=bounds.keep_alive,  # type: ignore[arg-type]  # call_later takes floats too
                ssl_context_factory=(lambda _config, _default: tls) if tls else None,
            )
        )

    @property
    def address(self) -> str:
        """Host and port; the system chooses the port if it is 0."""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def __aenter__(self) -> Self:
        """Listen, and take connections."""
        self.config.load()
        try:
            self._socket = _bound(self.config.host, self.config.port, self.config.backlog)
        except OSError as error:
            reason = (error.strerror or str(error)).partition(" (while")[0].lower()
            raise ListenError(f"cannot listen on {self.config.host} port {self.config.port}: {reason}") from error
        self._acceptor = Acceptor(self._socket, self._open, self._crowded_by)
        self._acceptor.start()
        self._clock = asyncio.create_task(self.main_loop())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Accept no more connections, give open ones the stop time, and end them."""
        self._acceptor.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.connections:
            self._ended.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), 0 if self.force_exit else self.bounds.stop)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        self._clock.cancel()

    def drain(self) -> None:
        """Close each connection with its next response; new connections are still accepted."""
        self.config.encoded_headers.append(CLOSE)  # for the lists to come: uvicorn makes one a second
        self.server_state.default_headers.append(CLOSE)  # for the one that requests under way hold

    def hurry(self) -> None:
        """Stop without waiting for requests in progress."""
        self.force_exit = True
        self._ended.set()

    def connection_ended(self) -> None:
        """Note that a connection has ended; the last one ends the wait for them."""
        if not self.server_state.connections:
            self._ended.set()

    async def _open(self, connection: socket.socket) -> None:
        tls = self.config.ssl
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: BoundedProtocol(self),
            connection,
            ssl=tls,
            ssl_handshake_timeout=self.bounds.receive if tls else None,
            ssl_shutdown_timeout=GOODBYE if tls else None,
        )

    def _crowded_by(self, address: str) -> bool:
        return self.config.is_ssl and self.incomplete.crowded_by(address)  # without TLS, there is nothing to save
