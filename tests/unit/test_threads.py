"""Threads and tasks that must not end by an unexpected error: whatever it was, they go on, or the process ends."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.controller import manager as manager_module
from app.controller.leadership import Leadership
from app.controller.manager import Manager
from app.controller.process import ending_with_threads
from app.controller.worker import Loop
from app.serving import tls
from app.webhook import server
from tests.bed.processes import wait_until


class Failing:
    """Raises at its first call, and counts all of them."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_arguments: object) -> bool:
        self.calls += 1
        if self.calls == 1:
            raise MemoryError
        return False


@contextmanager
def running(loop: Loop) -> Iterator[None]:
    loop.start()
    try:
        yield
    finally:
        loop.stop(10)


@pytest.mark.parametrize("part", ["step", "prepare"])
def test_a_thread_of_the_leader_goes_on_after_an_unexpected_error(part: str, caplog: pytest.LogCaptureFixture) -> None:
    failing, leadership = Failing(), Leadership()
    leadership.begin()
    parts: dict[str, Callable[[], Any]] = {"step": lambda: None, "prepare": lambda: True, part: failing}
    with running(Loop("work", parts["step"], leadership, prepare=parts["prepare"])):
        wait_until(lambda: failing.calls > 1, "it goes on", 20)
    assert "unexpected error in thread work" in caplog.text


def test_the_controller_follows_its_policy_after_an_unexpected_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(manager_module, "POLL_SECONDS", 0.01)
    failing, stopping = Failing(), threading.Event()
    parts = SimpleNamespace(
        _stopping=stopping, _dispatcher=SimpleNamespace(follow_policy=failing), _leadership=Leadership()
    )
    thread = threading.Thread(target=Manager._follow_policy, args=[parts])
    thread.start()
    try:
        wait_until(lambda: failing.calls > 1, "it goes on", 20)
    finally:
        stopping.set()
        thread.join()
    assert "unexpected error" in caplog.text


def test_the_webhook_follows_its_files_after_an_unexpected_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "POLL_SECONDS", 0.01)
    files = {name: Failing() for name in ("_policy", "_siblings", "_policies")}
    parts: Any = SimpleNamespace(**{name: SimpleNamespace(poll=failing) for name, failing in files.items()})
    asyncio.run(watched(server.Webhook._follow_policy(parts), lambda: min(one.calls for one in files.values()) > 1))
    assert "unexpected error" in caplog.text


def test_the_webhook_follows_its_certificate_after_an_unexpected_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing()
    certificate = tls.ServingCertificate(tmp_path / "tls.crt", tmp_path / "tls.key")
    monkeypatch.setattr(certificate, "reload", failing)
    asyncio.run(watched(certificate.watch(0.01), lambda: failing.calls > 1))
    assert "unexpected error" in caplog.text


async def watched(watching: Any, condition: Callable[[], bool]) -> None:
    """Run a task that never ends until a condition holds."""
    task = asyncio.ensure_future(watching)
    await asyncio.to_thread(wait_until, condition, "it goes on", 20)
    task.cancel()


def test_a_thread_that_ends_by_an_error_ends_the_controller_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    end, told = threading.Event(), list[Any]()
    before, threading.excepthook = threading.excepthook, told.append
    try:
        with ending_with_threads(end) as failed:
            thread = threading.Thread(target=Failing())
            thread.start()
            thread.join()
            assert end.wait(10)
            assert failed.is_set()
        assert threading.excepthook == told.append
    finally:
        threading.excepthook = before
    assert told, "the previous hook, which writes the log line, is called too"
