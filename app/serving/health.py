"""The health port of both processes: /healthz, /readyz, /startupz, /metrics and /loglevel over plain HTTP.

`/readyz?exclude=NAME` leaves a check out, as the API server has it. `/startupz` answers once the process is ready,
or after two minutes: a kubelet reports each failed probe as a Warning, and the wait for a first certificate needs none.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.types import ASGIApp, Receive, Scope, Send

from app.serving.server import Listener, Timeouts
from app.telemetry.logs import Level, LogLevel

Check = Callable[[], str | None]
"""Returns the problem as a sentence, None if there is none."""

LOOPBACK = frozenset({"127.0.0.1", "::1"})
"""Not all of 127.0.0.0/8: an Istio sidecar forwards requests of other pods from 127.0.0.6."""
LONGEST_BODY = 64
STARTUP_SECONDS, STARTUP_INTERVAL = 120.0, 0.2
TEXT = "text/plain; charset=utf-8"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """One response."""

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[bytes, bytes], ...] = ()


class HealthApp:
    """The ASGI application: alive and ready are lists of named checks, all of which must pass (200 `ok`, else 503)."""

    def __init__(
        self,
        registry: CollectorRegistry,
        ready: Mapping[str, Check],
        alive: Mapping[str, Check] | None = None,
        level: Level | None = None,
    ) -> None:
        self._registry = registry
        self._level = level or Level()
        self._checks = {"/readyz": ready, "/healthz": alive or {}}
        self._ending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] == "/startupz":
            await self._started()
        page = await self._level_page(scope, receive) if scope["path"] == "/loglevel" else self._page(scope)
        headers = [
            (b"content-type", page.content_type.encode()),
            (b"content-length", str(len(page.body)).encode()),
            *page.headers,
        ]
        await send({"type": "http.response.start", "status": page.status, "headers": headers})
        await send({"type": "http.response.body", "body": page.body})

    def end(self) -> None:
        """Answer probes that wait for the start: the process stops."""
        self._ending = True

    async def _started(self) -> None:
        """Wait until the process is ready, but not for ever."""
        waits = int(STARTUP_SECONDS / STARTUP_INTERVAL)
        while waits and not self._ending and _failed(self._checks["/readyz"]):
            await asyncio.sleep(STARTUP_INTERVAL)
            waits -= 1

    def _page(self, scope: Scope) -> Reply:
        path = scope["path"]
        if path not in {"/metrics", "/startupz", *self._checks}:
            return Reply(HTTPStatus.NOT_FOUND, b"not found\n")
        if scope["method"] not in {"GET", "HEAD"}:
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD\n", headers=((b"allow", b"GET, HEAD"),))
        if path == "/startupz":
            return Reply(HTTPStatus.OK, b"ok")
        if path == "/metrics":
            return self._metrics(scope)
        excluded = parse_qs(scope["query_string"].decode("latin-1")).get("exclude", ())
        return _verdict({name: check for name, check in self._checks[path].items() if name not in excluded})

    async def _level_page(self, scope: Scope, receive: Receive) -> Reply:
        """Show the log level, and change it for clients on this machine or in this pod."""
        if (scope["client"] or ("", 0))[0] not in LOOPBACK:
            return Reply(HTTPStatus.FORBIDDEN, b"only from loopback: use kubectl port-forward or exec\n")
        if scope["method"] not in {"GET", "HEAD", "PUT"}:
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and PUT\n", headers=((b"allow", b"GET, HEAD, PUT"),))
        if scope["method"] == "PUT":
            wanted = (await _read(receive)).decode("latin-1").strip()
            if wanted not in _LEVELS:
                return Reply(HTTPStatus.BAD_REQUEST, f"write one of: {', '.join(_LEVELS)}\n".encode())
            self._level.set(LogLevel(wanted))
            log.warning("log level set to %s", wanted)
        return Reply(HTTPStatus.OK, f"{self._level.current}\n".encode())

    def _metrics(self, scope: Scope) -> Reply:
        accepted = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
        encode, content_type = choose_encoder(accepted)
        return Reply(HTTPStatus.OK, encode(self._registry), content_type)


class HealthServer:
    """Serves an application in its own thread, for a program without an event loop."""

    def __init__(self, app: ASGIApp, host: str, port: int, bounds: Timeouts | None = None) -> None:
        self._listener = Listener(app, host, port, bounds or Timeouts())
        self._stopping = asyncio.Event()
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    @property
    def address(self) -> str:
        """Host and port; the system chooses the port if it is 0."""
        return self._listener.address

    def start(self) -> None:
        """Return when probes are answered; raises ListenError."""
        self._thread.start()
        self._loop.result()

    def stop(self) -> None:
        """Return when the listener is closed."""
        self._loop.result().call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # start() waits for any error
            self._loop.set_exception(error)

    async def _serve(self) -> None:
        async with self._listener:
            self._loop.set_result(asyncio.get_running_loop())
            await self._stopping.wait()


async def _read(receive: Receive) -> bytes:
    """Read a short body; a longer one is cut."""
    body = b""
    while (message := await receive())["type"] == "http.request" and len(body) <= LONGEST_BODY:
        body += message["body"]
        if not message["more_body"]:
            break
    return body[: LONGEST_BODY + 1]


def _verdict(checks: Mapping[str, Check]) -> Reply:
    if failed := _failed(checks):
        return Reply(HTTPStatus.SERVICE_UNAVAILABLE, "".join(failed).encode())
    return Reply(HTTPStatus.OK, b"ok")


def _failed(checks: Mapping[str, Check]) -> list[str]:
    reasons = {name: _run(check) for name, check in checks.items()}
    return [f"{name}: {reason}\n" for name, reason in reasons.items() if reason is not None]


def _run(check: Check) -> str | None:
    try:
        return check()
    except Exception as error:
        log.exception("unexpected error in a health check")
        return f"the health check raised an error: {error}"


_LEVELS = tuple(level.value for level in LogLevel)
