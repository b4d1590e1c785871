"""The client against a server that misbehaves as no healthy API server would."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kube import config
from app.kube.client import Client
from app.kube.errors import ApiError, ConfigError, Fenced, Gone, Throttled, Unauthorized, Unreachable
from app.kube.resources import Resource
from app.kube.session import Session
from app.kube.stream import WatchStream
from tests.unit.kube_server import Answer, Handler, Server, json_answer, running, text_answer, write_kubeconfig

MAPS = Resource("", "v1", "configmaps", "ConfigMap")
ENTRIES = Resource("networking.istio.io", "v1", "serviceentries", "ServiceEntry")
ONE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "team", "name": "one"}}
GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Iterator[Client]:
    client = Client.from_kubeconfig(server.kubeconfig(tmp_path / "kubeconfig", {"token": "secret"}), timeout=20)
    yield client
    client.close()


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "path"),
    [
        (MAPS, "team", "one", "/api/v1/namespaces/team/configmaps/one"),
        (MAPS, None, None, "/api/v1/configmaps"),
        (ENTRIES, "team", None, "/apis/networking.istio.io/v1/namespaces/team/serviceentries"),
        (Resource("", "v1", "namespaces", "Namespace", namespaced=False), "x", "y", "/api/v1/namespaces/y"),
        (MAPS, "a/b", "c?d=e", "/api/v1/namespaces/a%2Fb/configmaps/c%3Fd%3De"),
    ],
)
def test_a_resource_knows_its_paths(resource: Resource, namespace: str | None, name: str | None, path: str) -> None:
    assert resource.path(namespace, name) == path


def test_a_call_says_who_we_are_and_what_we_send(client: Client, server: Server) -> None:
    client.apply(MAPS, ONE, force=True)
    (request,) = server.seen
    assert (request.method, request.path) == (
        "PATCH",
        "/api/v1/namespaces/team/configmaps/one?fieldManager=serviceentry-guard&force=true",
    )
    assert request.headers["User-Agent"].startswith("serviceentry-guard/")
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["Accept"] == "application/json"
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert msgspec.json.decode(request.body) == ONE


def test_a_list_sends_only_the_given_parameters(client: Client, server: Server) -> None:
    page = client.list_page(MAPS, "team", limit=3, continue_="a/b", resource_version="7")
    assert server.seen[0].path.endswith("configmaps?limit=3&continue=a%2Fb&resourceVersion=7")
    assert (list(page.items), page.resource_version, page.continue_) == ([], "", "")


def test_a_rehearsal_stores_nothing_and_brings_the_warnings(client: Client, server: Server) -> None:
    def warn(handler: Handler) -> None:
        handler.send_response(201)
        for text in ('299 - "SEG003 spec.resolution: NONE becomes DNS"', r'299 - "a \"quoted\" \\ word"'):
            handler.send_header("Warning", text)
        body = msgspec.json.encode(ONE)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    server.answers = [warn]
    seen = client.rehearse(MAPS, ONE)
    assert server.seen[0].path == "/api/v1/namespaces/team/configmaps?fieldManager=serviceentry-guard&dryRun=All"
    assert seen.object == ONE
    assert list(seen.warnings) == ["SEG003 spec.resolution: NONE becomes DNS", 'a "quoted" \\ word']


def test_calls_reuse_one_connection(client: Client, server: Server) -> None:
    ports: set[int] = set()

    def note_port(handler: Handler) -> None:
        ports.add(handler.client_address[1])
        handler.send(200, b"{}")

    server.answers = [note_port]
    for _ in range(5):
        client.apply(MAPS, ONE)
    assert len(ports) == 1


@pytest.mark.parametrize("call", [lambda c: c.get(MAPS, "team", "one"), lambda c: c.replace(MAPS, ONE)])
def test_a_429_raises_throttled_without_a_second_attempt(
    client: Client, server: Server, call: Callable[[Client], Any]
) -> None:
    status = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "slow down"}
    server.answers = [json_answer(status, 429, Retry_After="30")]
    with pytest.raises(Throttled) as caught:
        call(client)
    assert caught.value.retry_after == 30
    assert len(server.seen) == 1


@pytest.mark.parametrize("method", ["get", "replace", "delete"])
def test_no_call_is_repeated_when_its_connection_breaks(client: Client, server: Server, method: str) -> None:
    server.answers = [lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)]
    arguments: Any = (MAPS, ONE) if method == "replace" else (MAPS, "team", "one")
    with pytest.raises(Unreachable, match=rf"{server.url} \(context x\) did not answer"):
        getattr(client, method)(*arguments)
    assert len(server.seen) == 1


def test_a_redirect_is_not_followed(client: Client, server: Server) -> None:
    server.answers = [lambda handler: handler.send(302, b"", Location=f"{server.url}/elsewhere")]
    with pytest.raises(ApiError) as caught:
        client.get(MAPS, "team", "one")
    assert caught.value.status == 302
    assert len(server.seen) == 1


def test_the_objects_of_a_page_are_decoded_when_their_turn_comes(client: Client, server: Server) -> None:
    body = b'{"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{"a": 1}, {"a": "\xff"}, 1]}'
    server.answers = [lambda handler: handler.send(200, body)]
    page = client.list_page(MAPS, "team")
    assert (page.resource_version, page.continue_, [bytes(each) for each in page.raw[:1]]) == (
        "7",
        "more",
        [b'{"a": 1}'],
    )
    objects = iter(page)
    assert next(objects) == {"a": 1}
    with pytest.raises(ApiError, match="did not return a list"):
        next(objects)


@pytest.mark.parametrize("answer", [{"metadata": [1]}, {"items": {"a": 1}}])
def test_an_answer_that_is_not_a_list_is_an_error(client: Client, server: Server, answer: object) -> None:
    server.answers = [json_answer(answer)]
    with pytest.raises(ApiError, match="did not return a list"):
        client.list_page(MAPS, "team")


@pytest.mark.parametrize(
    "answer",
    [
        text_answer("<html>log in first</html>", 200),
        json_answer([1]),
        lambda handler: handler.send(200, b'{"kind": "\xff"}'),
    ],
)
def test_an_answer_that_is_not_a_json_object_is_an_error(client: Client, server: Server, answer: Answer) -> None:
    server.answers = [answer]
    with pytest.raises(ApiError, match="did not return JSON") as caught:
        client.get(MAPS, "team", "one")
    assert caught.value.reason == "NoJson"


def test_a_server_that_is_not_there_is_unreachable(client: Client, server: Server) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(Unreachable, match="refused"):
        client.get(MAPS, "team", "one")


def test_an_answer_that_never_ends_is_given_up(client: Client, server: Server) -> None:
    server.answers = [lambda handler: handler.send_chunks(b'{"data":')]
    began = time.monotonic()
    with pytest.raises(Unreachable):
        client.get(MAPS, "team", "one", timeout=0.2)
    assert 0.2 <= time.monotonic() - began < 30


def test_a_write_asks_for_the_time_left_again_before_its_body_goes_out(client: Client, server: Server) -> None:
    answers = iter([5.0, 0.0])
    with pytest.raises(Fenced):
        client.fenced(lambda: next(answers)).replace(MAPS, ONE)
    time_out = client.fenced(lambda: 5.0).replace(MAPS, ONE)
    assert time_out == {}
    assert [request.method for request in server.seen if request.body] == ["PUT"]


@pytest.mark.parametrize(("left", "error"), [([0.2, 0.2, 0.0], Fenced), ([0.2, 0.2, 3.0], Unreachable)])
def test_a_write_without_a_response_is_fenced_if_the_lease_has_expired_meanwhile(
    client_of_listener: Client, left: list[float], error: type[ApiError]
) -> None:
    leading = client_of_listener.fenced(lambda: left.pop(0))
    with pytest.raises(error):
        leading.create(MAPS, ONE)
    assert not left


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that answers nothing, with a small receive buffer: large requests wait for it to read."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


@pytest.fixture
def client_of_listener(listener: socket.socket, tmp_path: Path) -> Iterator[Client]:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    client = Client.from_kubeconfig(write_kubeconfig(tmp_path / "kubeconfig", url, {}))
    yield client
    client.close()


def test_the_send_buffer_of_a_timed_out_write_is_never_delivered(
    listener: socket.socket, client_of_listener: Client
) -> None:
    body = {**ONE, "data": {"key": "x" * 200_000}}
    with pytest.raises(Unreachable):
        client_of_listener.create(MAPS, body, timeout=0.3)
    received, reset = drain(listener)
    assert reset
    assert received < 200_000


def drain(listener: socket.socket) -> tuple[int, bool]:
    """How many bytes arrived on the next connection, and whether it was reset rather than ended."""
    received = 0
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(30)
        try:
            while chunk := connection.recv(1 << 16):
                received += len(chunk)
        except ConnectionResetError:
            return received, True
    return received, False


def test_the_time_out_is_for_sending_and_waiting_together(listener: socket.socket, client_of_listener: Client) -> None:
    def read_late() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            time.sleep(4)
            while connection.recv(1 << 16):
                pass

    thread = threading.Thread(target=read_late)
    thread.start()
    began = time.monotonic()
    with pytest.raises(Unreachable):
        client_of_listener.create(MAPS, {**ONE, "data": {"key": "x" * 8_000_000}}, timeout=4.5)
    assert 4.4 < time.monotonic() - began < 8, "4.5 s after the server began to read would be 8.5 s"
    thread.join(60)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Credentials:
    """What a kubeconfig with a refresh hook gives: each reading and each refresh has a token of its own."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.loads = 0
        self.refreshes = 0
        self.on_refresh: Callable[[], None] = lambda: None
        self.on_load: Callable[[], None] = lambda: None

    def load(self) -> config.ConnectionSettings:
        self.on_load()
        self.loads += 1
        configuration = config.load(self.path, connections=4)
        configuration.refresh_api_key_hook = self.refresh  # type: ignore[assignment]  # it is declared None
        return configuration

    def refresh(self, configuration: config.ConnectionSettings) -> None:
        self.on_refresh()
        self.refreshes += 1
        configuration.api_key["BearerToken"] = f"Bearer {self.loads}.{self.refreshes}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def credentials(server: Server, tmp_path: Path) -> Credentials:
    return Credentials(server.kubeconfig(tmp_path / "kubeconfig", {"token": "first"}))


@pytest.fixture
def refreshing(credentials: Credentials, clock: Clock) -> Client:
    return Client(Session(credentials.load, clock))


def tokens(server: Server) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.seen]


def test_the_token_is_refreshed_every_ten_seconds_and_not_with_every_call(
    refreshing: Client, server: Server, clock: Clock
) -> None:
    for seconds in (0, 9, 10, 11, 19, 20):
        clock.now = seconds
        refreshing.get(MAPS, "team", "one")
    assert tokens(server) == ["1.1", "1.1", "1.2", "1.2", "1.2", "1.3"]


def test_a_refresh_that_fails_leaves_the_old_token_in_use(
    refreshing: Client, server: Server, clock: Clock, credentials: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("the plugin is gone")

    credentials.on_refresh = fail
    clock.now = 10
    refreshing.get(MAPS, "team", "one")
    assert tokens(server) == ["1.1"]
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.exc_info


def test_while_one_call_refreshes_the_token_others_go_on_with_the_old_one(
    refreshing: Client, server: Server, clock: Clock, credentials: Credentials
) -> None:
    began, may_end = threading.Event(), threading.Event()

    def take_long() -> None:
        began.set()
        may_end.wait(60)

    credentials.on_refresh = take_long
    clock.now = 10
    thread = threading.Thread(target=refreshing.get, args=(MAPS, "team", "one"))
    thread.start()
    assert began.wait(60)
    clock.now = 20
    refreshing.get(MAPS, "team", "two")
    may_end.set()
    thread.join(60)
    assert tokens(server) == ["1.1", "1.2"]


UNAUTHORIZED = json_answer({"kind": "Status", "code": 401, "reason": "Unauthorized", "message": "no"}, 401)


def test_after_a_401_the_call_is_repeated_once_with_reloaded_credentials(
    refreshing: Client, server: Server, clock: Clock
) -> None:
    clock.now = 10
    server.answers = [UNAUTHORIZED, json_answer({"kind": "ConfigMap"})]
    assert refreshing.apply(MAPS, ONE) == {"kind": "ConfigMap"}
    assert tokens(server) == ["1.2", "2.3"]
    assert server.seen[0].body == server.seen[1].body == msgspec.json.encode(ONE)


def test_credentials_that_stay_refused_are_loaded_no_more_than_every_ten_seconds(
    refreshing: Client, server: Server, clock: Clock, credentials: Credentials
) -> None:
    server.answers = [UNAUTHORIZED]
    for seconds in (0, 9, 10, 11, 20):
        clock.now = seconds
        with pytest.raises(Unauthorized):
            refreshing.get(MAPS, "team", "one")
    assert credentials.loads == 3


def test_when_the_kubeconfig_is_gone_the_refusal_stands(
    refreshing: Client, server: Server, clock: Clock, credentials: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ConfigError("kubeconfig gone")

    credentials.on_load = fail
    server.answers = [UNAUTHORIZED]
    clock.now = 10
    with pytest.raises(Unauthorized):
        refreshing.get(MAPS, "team", "one")
    assert "refreshing the API server credentials failed: kubeconfig gone" in caplog.text


def event(type_: str, **fields: Any) -> bytes:
    return msgspec.json.encode({"type": type_, "object": fields}) + b"\n"


def watch(client: Client, server: Server, *chunks: bytes, end: bool = True) -> WatchStream:
    def answer(handler: Handler) -> None:
        handler.send_chunks(*chunks)
        if end:
            handler.send_end()
        handler.close_connection = True

    server.answers = [answer]
    return client.watch(MAPS, "1", timeout_seconds=5)


LINES = event("ADDED", a=1) + event("MODIFIED", text="é\\n" * 10) + event("DELETED") + event("BOOKMARK")


@settings(deadline=None)
@given(cuts=st.lists(st.integers(1, len(LINES) - 1), unique=True).map(sorted))
def test_events_arrive_whole_however_the_bytes_are_cut(cuts: list[int]) -> None:
    class Response:
        def __init__(self) -> None:
            places = zip([0, *cuts], [*cuts, len(LINES)], strict=True)
            self.chunks = [LINES[start:end] for start, end in places]

        def read1(self, _: int) -> bytes:
            return self.chunks.pop(0) if self.chunks else b""

        def close(self) -> None:
            """There is no connection."""

    response: Any = Response()
    assert [each.type for each in WatchStream(response)] == ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


def test_a_watch_asks_for_bookmarks_from_a_version_on(client: Client, server: Server) -> None:
    assert list(watch(client, server)) == []
    query = "watch=true&allowWatchBookmarks=true&resourceVersion=1&timeoutSeconds=5"
    assert server.seen[0].path == f"/api/v1/configmaps?{query}"


def test_an_expired_version_in_a_watch_is_gone(client: Client, server: Server) -> None:
    stream = watch(client, server, event("ADDED"), event("ERROR", **GONE))
    with pytest.raises(Gone, match="too old"):
        list(stream)


def test_any_other_error_in_a_watch_is_an_api_error(client: Client, server: Server) -> None:
    stream = watch(client, server, event("ERROR", kind="Status", code=500, reason="InternalError"))
    with pytest.raises(ApiError, match="InternalError"):
        list(stream)


@pytest.mark.parametrize("chunks", [(event("ADDED"),), (event("ADDED"), b'{"type": "ADD')])
def test_a_broken_watch_connection_raises_unreachable(
    client: Client, server: Server, chunks: tuple[bytes, ...]
) -> None:
    stream = watch(client, server, *chunks, end=False)
    seen: list[str] = []
    with pytest.raises(Unreachable, match="the watch connection broke"):
        seen.extend(each.type for each in stream)


@pytest.mark.parametrize("line", [b"<html>\n", b'{"type": "\xff"}\n'])
def test_a_watch_that_is_not_json_is_unreachable(client: Client, server: Server, line: bytes) -> None:
    with pytest.raises(Unreachable):
        list(watch(client, server, line))


def test_a_watch_of_an_expired_version_raises_gone(client: Client, server: Server) -> None:
    server.answers = [json_answer(GONE, 410)]
    with pytest.raises(Gone):
        client.watch(MAPS, "1", timeout_seconds=5)


def test_a_watch_error_without_its_body_raises_unreachable(client: Client, server: Server) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(500)
        handler.send_header("Content-Length", "99")
        handler.end_headers()
        handler.close_connection = True

    server.answers = [answer]
    with pytest.raises(Unreachable):
        client.watch(MAPS, "1", timeout_seconds=5)


def test_a_watch_that_was_closed_before_it_is_read_is_empty(client: Client, server: Server) -> None:
    stream = watch(client, server, event("ADDED"), end=False)
    stream.close()
    assert [each.type for each in stream] in ([], ["ADDED"])
    stream.close()
