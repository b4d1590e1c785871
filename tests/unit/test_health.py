"""The health port: what a probe is told, and the server that a threaded program runs for it."""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from app.serving import health
from app.serving.health import Check, HealthApp, HealthServer
from app.serving.server import ListenError
from app.telemetry.logs import OUR_LOGGER, Level, LogLevel
from app.telemetry.metrics import ControllerMetrics
from tests.contract.clients import get


@pytest.fixture
def state() -> dict[str, str | None]:
    """What the named checks say."""
    return {"leader": None, "cache": None}


@pytest.fixture
def address(state: dict[str, str | None]) -> Iterator[str]:
    """Where a server answers for that state."""
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc()
    checks: dict[str, Check] = {name: lambda name=name: state[name] for name in state}  # type: ignore[misc]
    server = HealthServer(HealthApp(registry, ready=checks), "127.0.0.1", 0)
    server.start()
    yield server.address
    server.stop()


def test_ready_while_every_check_passes(address: str) -> None:
    response = get(address, "/readyz")
    assert (response.status, response.body) == (200, b"ok")


def test_unready_names_each_failing_check_and_its_reason(address: str, state: dict[str, str | None]) -> None:
    state["cache"] = "not synced"
    response = get(address, "/readyz")
    assert (response.status, response.body) == (503, b"cache: not synced\n")
    assert get(address, "/healthz").status == 200


def test_a_check_that_breaks_counts_as_failing(address: str, state: dict[str, str | None]) -> None:
    del state["leader"]
    response = get(address, "/readyz")
    assert (response.status, response.body) == (503, b"leader: the health check raised an error: 'leader'\n")


def test_a_probe_may_leave_checks_out_by_name(address: str, state: dict[str, str | None]) -> None:
    state["cache"] = "not synced"
    assert get(address, "/readyz?exclude=cache").status == 200
    assert get(address, "/readyz?exclude=leader&exclude=other").status == 503
    state["leader"] = "lost"
    assert get(address, "/readyz?exclude=cache&exclude=leader").status == 200


def test_the_probe_of_the_start_is_answered_once_all_checks_pass(address: str, state: dict[str, str | None]) -> None:
    state["cache"] = "not synced"
    answers = list[int]()
    probe = threading.Thread(target=lambda: answers.append(get(address, "/startupz").status))
    probe.start()
    for _ in range(3):  # a probe that waits holds up no other
        assert get(address, "/readyz").status == 503
    assert answers == []
    state["cache"] = None
    probe.join(30)
    assert answers == [200]


@pytest.mark.parametrize("seconds", [0.0, 120.0])
def test_the_probe_of_the_start_is_answered_at_last_and_when_the_process_stops(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(health, "STARTUP_SECONDS", seconds)
    app = HealthApp(CollectorRegistry(), ready={"certificate": lambda: "none yet"})
    server = HealthServer(app, "127.0.0.1", 0)
    server.start()
    if seconds:
        app.end()
    assert get(server.address, "/startupz").status == 200
    server.stop()


def test_liveness_has_checks_of_its_own() -> None:
    server = HealthServer(HealthApp(CollectorRegistry(), ready={}, alive={"loop": lambda: "stuck"}), "127.0.0.1", 0)
    server.start()
    assert get(server.address, "/healthz").status == 503
    assert get(server.address, "/readyz").status == 200
    server.stop()


def test_metrics_are_exposed_as_prometheus_reads_them(address: str) -> None:
    response = get(address, "/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert b"things_total 1.0\n" in response.body


def test_a_head_request_gets_no_body(address: str) -> None:
    response = get(address, "/readyz", "HEAD")
    assert (response.status, response.headers["content-length"], response.body) == (200, "2", b"")


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/readyz", 405), ("GET", "/", 404)])
def test_there_is_nothing_else_to_ask(address: str, method: str, path: str, status: int) -> None:
    assert get(address, path, method).status == status


def test_a_taken_port_is_said_where_the_server_is_started() -> None:
    app = HealthApp(CollectorRegistry(), ready={})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = HealthServer(app, "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ListenError, match="address already in use"):
            server.start()


def test_a_stopped_server_leaves_no_thread_and_no_listener() -> None:
    before = threading.active_count()
    server = HealthServer(HealthApp(ControllerMetrics().registry, ready={}), "127.0.0.1", 0)
    server.start()
    address = server.address
    assert get(address, "/metrics").status == 200
    server.stop()
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        get(address, "/metrics")


class TestTheLogLevel:
    """Shown and changed on the health port, from loopback only."""

    @pytest.fixture
    def level(self) -> Iterator[Level]:
        """The level in force, which is put back afterwards."""
        before = logging.getLogger(OUR_LOGGER).level, logging.getLogger().level
        level = Level()
        level.set(LogLevel.INFO)
        yield level
        logging.getLogger(OUR_LOGGER).setLevel(before[0])
        logging.getLogger().setLevel(before[1])

    def ask(self, app: HealthApp, method: str, body: bytes = b"", client: tuple[str, int] | None = None) -> Any:
        """Ask the application as if from there; the status and the body of its answer."""
        sent: list[Any] = []
        chunks = [body[:3], body[3:]]

        async def receive() -> Any:
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"path": "/loglevel", "method": method, "headers": [], "client": client or ("127.0.0.1", 1)}
        asyncio.run(app(scope, receive, send))
        return sent[0]["status"], sent[1]["body"]

    @pytest.fixture
    def app(self, level: Level) -> HealthApp:
        return HealthApp(CollectorRegistry(), ready={}, level=level)

    def test_is_shown_and_changed(self, app: HealthApp, level: Level) -> None:
        assert self.ask(app, "GET") == (200, b"info\n")
        assert self.ask(app, "PUT", b"debug\n", ("::1", 1)) == (200, b"debug\n")
        assert level.current == "debug"
        assert self.ask(app, "GET") == (200, b"debug\n")

    @pytest.mark.parametrize("body", [b"", b"loud", b"INFO", b"debug" * 1000, b"\xff"])
    def test_stays_the_same_after_an_invalid_level(self, app: HealthApp, level: Level, body: bytes) -> None:
        assert self.ask(app, "PUT", body) == (400, b"write one of: debug, info, warning, error\n")
        assert level.current == "info"

    @pytest.mark.parametrize("host", ["10.0.0.7", "127.0.0.6", "::ffff:10.0.0.7", "testclient"])
    @pytest.mark.parametrize("method", ["GET", "PUT"])
    def test_is_forbidden_to_every_client_outside_of_the_pod(
        self, app: HealthApp, level: Level, host: str, method: str
    ) -> None:
        """127.0.0.6 is where an Istio sidecar hands over from what other pods send."""
        assert self.ask(app, method, b"debug", (host, 1))[0] == 403
        assert level.current == "info"

    def test_takes_no_other_method(self, app: HealthApp) -> None:
        assert self.ask(app, "POST", b"debug")[0] == 405

    def test_is_reached_over_http(self, level: Level) -> None:
        server = HealthServer(HealthApp(CollectorRegistry(), ready={}, level=level), "127.0.0.1", 0)
        server.start()
        connection = HTTPConnection(server.address)
        connection.request("PUT", "/loglevel", b"warning")
        assert connection.getresponse().read() == b"warning\n"
        connection.close()
        server.stop()
        assert level.current == "warning"
