"""How it stops: unready first, reachable while others still send, and then within a bound."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPException

import pytest

from tests.contract.clients import Client, Response, request
from tests.contract.webhooks import DEADLINE, Files, Running, process, until

NEVER = 3600.0
LOST = (OSError, HTTPException)


def unready(webhook: Running) -> bool:
    """Whether its readiness is down."""
    response = webhook.probe("/readyz")
    return (response.status, response.body) == (503, b"drain: draining\n")


def answers_until_closed(webhook: Running) -> Iterator[Response]:
    """Answers on new connections, until there are none to be had."""
    while True:
        try:
            yield webhook.ask()
        except LOST:
            return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_it_drains_every_request_is_answered_and_its_connection_closed(
    files: Files, number: signal.Signals
) -> None:
    with process(files, drain_seconds=NEVER) as drained:
        webhook = drained.serving()
        with webhook.connect() as idle, webhook.connect() as fresh:
            assert "connection" not in idle.ask().headers
            drained.signal(number)
            until(lambda: unready(webhook))
            for response in (idle.ask(), fresh.ask(), webhook.ask(), webhook.ask(request(b"no"))):
                assert response.status in {200, 400}
                assert response.headers["connection"] == "close"
            until(lambda: idle.closed(0.1))
            assert webhook.probe("/readyz?exclude=drain").status == 200  # as the chart's probe asks
        drained.signal(number)
        assert drained.exit_code() == 0


def test_a_drain_lasts_as_long_as_the_setting_says(files: Files) -> None:
    with process(files, drain_seconds=1.5) as drained:
        webhook = drained.serving()
        drained.signal()
        began = time.monotonic()
        until(lambda: unready(webhook))
        answers = list(answers_until_closed(webhook))
        assert {(answer.status, answer.headers["connection"]) for answer in answers} == {(200, "close")}
        assert 1.4 < time.monotonic() - began < DEADLINE
        assert drained.exit_code() == 0


def test_without_a_drain_requests_are_lost(files: Files) -> None:
    with process(files) as abrupt:
        webhook = abrupt.serving()
        with webhook.connect() as kept:
            assert kept.ask().status == 200
            abrupt.signal()
            until(lambda: kept.closed(0.1))
            with pytest.raises(LOST):
                kept.ask()
            with pytest.raises(LOST):
                webhook.ask()
        assert abrupt.exit_code() == 0


def unfinished(webhook: Running, stack: ExitStack) -> Client:
    """A request under way whose end does not come."""
    client = stack.enter_context(webhook.connect())
    client.send(request(b"", length=100, expect="100-continue"))
    assert client.socket.recv(100).startswith(b"HTTP/1.1 100")
    return client


def test_a_request_without_end_holds_the_exit_up_for_no_longer_than_the_bound(files: Files) -> None:
    with (
        process(files, receive_timeout=NEVER, stop_seconds=0.3) as bounded,
        process(files, receive_timeout=NEVER, stop_seconds=NEVER) as unbounded,
        ExitStack() as stack,
    ):
        for one in (bounded, unbounded):
            unfinished(one.serving(), stack)
            one.signal()
        assert bounded.exit_code() == 0
        with pytest.raises(subprocess.TimeoutExpired):
            unbounded.exit_code(0.3)


def test_a_request_under_way_is_finished_within_the_bound(files: Files) -> None:
    with process(files, stop_seconds=NEVER) as stopping, ExitStack() as stack:
        webhook = stopping.serving()
        client = stack.enter_context(webhook.connect())
        whole = request(expect="100-continue")
        client.send(whole[:-10])
        assert client.socket.recv(25).startswith(b"HTTP/1.1 100")
        stopping.signal()
        until(lambda: "Shutting" in stopping.log or "draining" in stopping.log)
        response = client.ask(whole[-10:])
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert stopping.exit_code() == 0


@pytest.mark.parametrize("drain_seconds", [NEVER, 0.0], ids=["draining", "stopping"])
def test_a_second_signal_stops_at_once(files: Files, drain_seconds: float) -> None:
    changes = {"drain_seconds": drain_seconds, "receive_timeout": NEVER, "stop_seconds": NEVER}
    with process(files, **changes) as hurried, ExitStack() as stack:
        unfinished(hurried.serving(), stack)
        hurried.signal()
        until(lambda: "draining" in hurried.log)
        with pytest.raises(subprocess.TimeoutExpired):
            hurried.exit_code(0.3)
        hurried.signal()
        assert hurried.exit_code() == 0


def test_idle_connections_hold_nothing_up_and_nothing_of_an_ordinary_stop_is_an_error(files: Files) -> None:
    with process(files, stop_seconds=NEVER) as drained, drained.serving().connect() as kept:
        assert kept.ask().status == 200
        drained.signal()
        assert drained.exit_code() == 0
        assert {line.partition(" ")[0] for line in drained.log.splitlines()} == {"INFO"}
