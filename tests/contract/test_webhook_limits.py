"""What one client can take from the others: each bound with it, and what happens without."""

import contextlib
import copy
import json
import resource
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.client import HTTPException
from typing import Any

import pytest

import app.serving.acceptor
import app.serving.server
from app.webhook.admission import VALUES_LIMIT
from app.webhook.bodies import SMALL_BODY
from tests.contract.clients import BODY, CHUNKED_HEAD, REVIEW, Client, chunk, drip, request
from tests.contract.webhooks import DEADLINE, Files, Process, Running, process, running, until

NEVER = 3600.0
LOST = (OSError, HTTPException)
MILLION = 1000 * 1000


@pytest.fixture
def run(files: Files) -> Iterator[Callable[..., Running]]:
    """Run webhooks until the test ends."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Running:
            return stack.enter_context(running(files, **changes))

        yield start


def connect(webhook: Running, stack: ExitStack) -> Client:
    return stack.enter_context(webhook.connect())


# Keep-alive: the API server keeps an idle connection for 90 s, so the webhook must keep it longer.


def test_a_connection_that_the_server_keeps_shorter_than_its_client_breaks_under_the_next_request(
    run: Callable[..., Running],
) -> None:
    short, long = run(keep_alive=0.3), run()
    with short.connect() as dropped, long.connect() as kept:
        assert dropped.ask().status == kept.ask().status == 200
        until(lambda: dropped.closed(0.1))
        with pytest.raises(LOST):
            dropped.ask()
        assert kept.ask().status == 200


def test_a_request_answered_before_it_was_whole_leaves_no_connection_behind(run: Callable[..., Running]) -> None:
    with run(keep_alive=0.3).connect() as client:
        head = request(b"12345", path="/nowhere")
        client.send(head[:-1])
        assert client.receive().status == 404
        client.send(head[-1:])
        until(lambda: client.closed(0.1))


# Receive deadline.

WHOLE = request()
BEGINNINGS = (
    b"",
    b"\r\n",
    b"POST /mut",
    b"POST /mutate HTTP/1.1\r\nHost: web",
    WHOLE[: -len(BODY)],
    WHOLE[: -len(BODY) // 2],
)
"""Nothing, a mere line end, half a request line, half a header, a header without its body, half a body."""


def test_a_request_that_does_not_come_whole_in_time_ends_its_connection(run: Callable[..., Running]) -> None:
    strict, lenient = run(receive_timeout=0.5), run(receive_timeout=NEVER)
    at_first = [(b"", beginning) for beginning in BEGINNINGS]
    after_an_answer = [(WHOLE, beginning) for beginning in BEGINNINGS if beginning]
    with ExitStack() as stack:
        for before, beginning in at_first + after_an_answer:
            ended, kept = connect(strict, stack), connect(lenient, stack)
            for client in (ended, kept):
                assert not before or client.ask(before).status == 200
                client.send(beginning)
            until(partial(ended.closed, 0.1))
            assert not kept.closed()
            assert kept.ask(WHOLE.removeprefix(beginning)).status == 200


@pytest.mark.parametrize(
    "beginning", [b"POST /mutate HTTP/1.1\r\nX-Slow: ", request(b"", length=1000)], ids=["head", "body"]
)
def test_dripping_bytes_does_not_extend_the_time(run: Callable[..., Running], beginning: bytes) -> None:
    strict, lenient = run(receive_timeout=0.5), run(receive_timeout=NEVER)
    with strict.connect() as ended, lenient.connect() as kept:
        for client in (ended, kept):
            client.send(beginning)
        assert not drip(kept, 1.0)
        assert drip(ended, DEADLINE)


def test_a_connection_that_never_shakes_hands_is_ended_too(run: Callable[..., Running]) -> None:
    strict, lenient = run(receive_timeout=0.3), run(receive_timeout=NEVER)
    with (
        socket.create_connection(address(strict), 10) as ended,
        socket.create_connection(address(lenient), 0.1) as kept,
    ):
        with contextlib.suppress(ConnectionError):
            assert ended.recv(1) == b""
        with pytest.raises(TimeoutError):
            kept.recv(1)


def test_many_requests_in_one_packet_are_all_answered(run: Callable[..., Running]) -> None:
    with run().connect() as client:
        client.send(WHOLE * 3 + WHOLE[:50])
        assert [client.receive().status for _ in range(3)] == [200, 200, 200]
        assert client.ask(WHOLE[50:]).status == 200


def test_a_request_that_came_behind_another_has_a_deadline_too(run: Callable[..., Running]) -> None:
    with run(receive_timeout=1.0).connect() as client:
        assert client.ask(WHOLE + WHOLE[:50]).status == 200
        until(lambda: client.closed(0.1))


def address(webhook: Running) -> tuple[str, int]:
    host, _, port = webhook.admission.rpartition(":")
    return host, int(port)


# Body limit.


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(run: Callable[..., Running]) -> None:
    with run(max_body=1000).connect() as client:
        refused = client.ask(request(b"", length=1001))
        assert (refused.status, refused.headers["connection"]) == (413, "close")
        assert refused.document["message"] == "the body is over 1000 bytes"
        until(lambda: client.closed(0.1))


def test_a_body_of_exactly_the_limit_is_read(run: Callable[..., Running]) -> None:
    webhook = run(max_body=len(BODY))
    assert webhook.ask().status == 200
    assert webhook.ask(request(BODY + b" ")).status == 413
    assert webhook.ask(CHUNKED_HEAD + chunk(BODY) + chunk(b"")).status == 200
    assert webhook.ask(CHUNKED_HEAD + chunk(BODY + b" ") + chunk(b"")).status == 413


def test_a_client_that_sends_on_regardless_still_reads_why_it_was_refused(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(max_body=1000).ask(request(b" " * 4 * MILLION)).status == 413
    monkeypatch.setattr(app.serving.server, "GOODBYE", 0.001)
    with pytest.raises(LOST):
        run(max_body=1000).ask(request(b" " * 40 * MILLION))


def upload(process: Process) -> int:
    """Send 100 MB, or as much as is taken, without announcing the length; return by how many MiB the peak grew."""
    webhook, before = process.serving(), process.peak
    with webhook.connect() as client, contextlib.suppress(OSError):
        client.send(CHUNKED_HEAD)
        for _ in range(100):
            client.send(chunk(b" " * MILLION))
        client.ask(chunk(b""))
    return process.peak - before


def test_a_body_of_100_mb_takes_no_memory(files: Files) -> None:
    with process(files) as bounded, process(files, max_body=200 * MILLION, large_seconds=NEVER) as unbounded:
        assert upload(bounded) < 30
        assert upload(unbounded) > 60  # some of it may come from memory that was free
        assert "the body is over" in bounded.log
        assert "the body is not a valid" in unbounded.log


def test_a_header_without_end_is_refused(run: Callable[..., Running]) -> None:
    webhook = run()
    with webhook.connect() as client:
        client.send(b"POST /mutate HTTP/1.1\r\nX-Long: " + b"x" * 70_000)
        assert client.receive().status == 400
        until(lambda: client.closed(0.1))
    with webhook.connect() as client:
        client.send(b"POST /mutate HTTP/1.1\r\n" + b"X-Many: x\r\n" * 7_000)
        assert client.receive().status == 400
    with webhook.connect() as client:
        for _ in range(2):
            assert client.ask(request(x_long="x" * 60_000)).status == 200


def test_a_trailer_without_end_is_refused(run: Callable[..., Running]) -> None:
    with run().connect() as client:
        client.send(CHUNKED_HEAD + chunk(BODY) + b"0\r\n" + b"X-Many: x\r\n" * 7_000)
        assert client.receive().status == 400


# Requests at once.

LARGE = SMALL_BODY + 1
PADDING = b" " * (LARGE - len(BODY))


def hold(webhook: Running, stack: ExitStack, length: int = LARGE) -> Client:
    """Be a request under way: the server asks for the body once it has taken the request on."""
    client = connect(webhook, stack)
    client.send(request(b"", length=length, expect="100-continue"))
    assert client.socket.recv(100).startswith(b"HTTP/1.1 100")
    return client


def test_requests_with_large_bodies_beyond_the_limit_get_503_with_retry_after(run: Callable[..., Running]) -> None:
    webhook = run(max_large=1, large_seconds=NEVER)
    with ExitStack() as stack:
        held = hold(webhook, stack)
        with webhook.connect() as client:
            refused = client.ask(request(BODY + PADDING))
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert held.ask(BODY + PADDING).status == 200
            assert client.ask(request(BODY + PADDING)).status == 200


def test_a_request_with_a_small_body_waits_for_no_other_request(run: Callable[..., Running]) -> None:
    webhook = run(max_large=1, large_seconds=NEVER)
    with ExitStack() as stack:
        held = [hold(webhook, stack), *(hold(webhook, stack, len(BODY)) for _ in range(100))]
        assert webhook.ask().status == 200
        assert held[0].ask(BODY + PADDING).status == 200
        assert [one.ask(BODY).status for one in held[1:]] == [200] * 100


def test_a_large_body_waits_for_its_turn_and_one_that_comes_slowly_loses_it(run: Callable[..., Running]) -> None:
    with run(large_seconds=0.5).connect() as slow, ExitStack() as stack:
        webhook = run(large_seconds=NEVER)
        first = hold(webhook, stack)
        waiting = connect(webhook, stack)
        waiting.send(request(BODY + PADDING))
        assert not waiting.closed(0.2)
        assert first.ask(BODY + PADDING).status == 200
        assert waiting.receive().status == 200
        slow.send(request(b"", length=LARGE))
        assert slow.receive().document["message"] == "the body did not arrive within 0.5 s"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loopback interface has one address only")
def test_a_large_body_of_another_client_waits_for_one_turn_only(run: Callable[..., Running]) -> None:
    webhook = run(large_seconds=NEVER)
    with ExitStack() as stack:
        first = hold(webhook, stack)
        waiting = [stack.enter_context(webhook.connect(f"127.0.0.{end}")) for end in (1, 1, 1, 2)]
        for client in waiting:
            client.send(request(b"", length=LARGE, expect="100-continue"))
            assert not client.closed(0.1)
        assert first.ask(BODY + PADDING).status == 200
        assert serve_next(waiting) == "127.0.0.2"


def serve_next(waiting: list[Client]) -> str:
    """Send the body of the next request that gets its turn; returns the address that it came from."""
    (ready, *_), _, _ = select.select([client.socket for client in waiting], [], [], 10)
    client = next(client for client in waiting if client.socket is ready)
    waiting.remove(client)
    assert client.socket.recv(100).startswith(b"HTTP/1.1 100")
    assert client.ask(BODY + PADDING).status == 200
    return str(ready.getsockname()[0])


def test_a_request_that_ends_badly_gives_its_place_back(run: Callable[..., Running]) -> None:
    webhook = run(max_large=1, max_body=2 * LARGE, large_seconds=NEVER)
    with ExitStack() as stack:
        hold(webhook, stack).socket.close()
        until(lambda: webhook.ask(request(BODY + PADDING)).status == 200)
        assert webhook.ask(request(b"no" + b" " * LARGE)).status == 400
        assert webhook.ask(CHUNKED_HEAD + chunk(b" " * 3 * LARGE)).status == 413
        assert webhook.ask(request(BODY + PADDING)).status == 200


def test_a_body_with_very_many_values_is_refused_unread(run: Callable[..., Running]) -> None:
    document = copy.deepcopy(REVIEW)
    document["request"]["object"]["spec"]["hosts"] = [[]] * VALUES_LIMIT
    refused = run().ask(request(json.dumps(document, separators=(",", ":")).encode()))
    assert (refused.status, refused.document["message"]) == (413, f"the body has more than {VALUES_LIMIT} values")


def test_too_many_connections_without_a_complete_request_cost_those_that_have_waited_longest(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app.serving.server, "INCOMPLETE_LIMIT", 5)
    webhook = run(receive_timeout=NEVER)
    with ExitStack() as stack:
        kept = connect(webhook, stack)
        assert kept.ask().status == 200
        waiting = list[Client]()
        for number in range(8):
            waiting.append(connect(webhook, stack))
            waiting[-1].send(WHOLE[: 50 if number % 2 else 0])
            assert kept.ask().status == 200, "a request that is complete at once is never in the way"
        for client in waiting[:3]:
            until(partial(client.closed, 0.1))
        assert not waiting[-1].closed()
        assert waiting[-1].ask(WHOLE[50:]).status == 200
        assert kept.ask().status == 200
    assert "without a complete request" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loopback interface has one address only")
def test_an_address_with_too_many_of_them_waits_for_its_handshakes_and_others_do_not(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.serving.server, "INCOMPLETE_LIMIT", 5)
    monkeypatch.setattr(app.serving.acceptor, "PACE_SECONDS", NEVER)
    webhook = run(receive_timeout=NEVER)
    with ExitStack() as stack:
        kept = connect(webhook, stack)
        assert kept.ask().status == 200
        flood = [connect(webhook, stack) for _ in range(3)]
        until(lambda: not webhook.shakes_hands())
        assert kept.ask().status == 200
        assert stack.enter_context(webhook.connect("127.0.0.2")).ask().status == 200
        assert flood[0].ask().status == 200
        assert connect(webhook, stack).ask().status == 200, "one less waits for a request"


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is of Linux")
def test_without_file_descriptors_a_connection_waits_until_there_are_some(files: Files) -> None:
    with process(files) as starved, ExitStack() as stack:
        webhook, pid = starved.serving(), starved.popen.pid
        kept = connect(webhook, stack)
        assert kept.ask().status == 200
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        # Only descriptor 0 is allowed from now on. It is in use, so the system refuses each new one.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, before[1]))
        assert not webhook.shakes_hands()
        until(lambda: "cannot accept connections" in starved.log)
        assert kept.ask().status == 200
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        until(webhook.shakes_hands)
        assert webhook.ask().status == 200
