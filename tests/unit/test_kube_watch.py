"""The reflector where a healthy API server does not lead it: bugs in callbacks, endless short watches, stopping."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.kube import watch
from app.kube.client import Client, Object
from app.kube.resources import Resource
from app.kube.watch import ObjectKey, Reflector
from tests.unit.kube_server import Handler, Server, json_answer, running

MAPS = Resource("", "v1", "configmaps", "ConfigMap")

Make = Callable[..., Reflector[str]]


def item(name: str, value: str, version: int) -> Object:
    metadata = {"namespace": "team", "name": name, "resourceVersion": str(version)}
    return {"metadata": metadata, "data": {"key": value}}


class Cluster:
    """Answers lists with `items` at version 5 and watches with the events given, then silence or the end."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.items: list[Object] = []
        self.watches: list[list[tuple[str, Object]]] = []
        self.end_at_once = False
        self.broken = False
        self.over = threading.Event()
        server.answers = [self.answer]

    def answer(self, handler: Handler) -> None:
        if "watch=true" not in handler.path:
            json_answer({"metadata": {"resourceVersion": "5"}, "items": self.items})(handler)
            return
        events = self.watches.pop(0) if self.watches else []
        lines = [msgspec.json.encode({"type": kind, "object": body}) + b"\n" for kind, body in events]
        handler.send_chunks(*lines)
        if not (events or self.end_at_once):
            self.over.wait(20)
        if self.broken and events:
            handler.close_connection = True
        else:
            handler.send_end()

    def asked(self, what: str) -> list[str]:
        return [request.path for request in list(self.server.seen) if what in request.path]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as server:
        cluster = Cluster(server)
        yield cluster
        cluster.over.set()


@pytest.fixture
def make(cluster: Cluster, tmp_path: Path) -> Iterator[Make]:
    client = Client.from_kubeconfig(cluster.server.kubeconfig(tmp_path / "kubeconfig", {}))
    reflectors: list[Reflector[str]] = []

    def make(on_change: Callable[[ObjectKey, str | None, str | None], None], **more: Any) -> Reflector[str]:
        reflectors.append(Reflector(client, MAPS, lambda item: str(item["data"]["key"]), on_change, **more))
        return reflectors[-1]

    yield make
    for reflector in reflectors:
        reflector.stop()
    client.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def test_a_callback_that_raises_gets_the_same_change_again(
    cluster: Cluster, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str | None, str | None]] = []

    def on_change(_: ObjectKey, old: str | None, new: str | None) -> None:
        told.append((old, new))
        if len(told) == 2:
            raise RuntimeError("a bug")

    cluster.items = [item("one", "1", 4)]
    cluster.watches = [[("MODIFIED", item("one", "2", 6))]] * 2
    reflector = make(on_change)
    reflector.start()
    until(lambda: len(told) == 3)
    assert told == [(None, "1"), ("1", "2"), ("1", "2")]
    until(lambda: reflector.store == {("team", "one"): "2"})
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info
    assert "a bug" in record.getMessage()
    assert all("resourceVersion=5&" in path for path in cluster.asked("watch=true")[:2]), "nothing was skipped"


def test_a_bookmark_moves_the_version_from_which_the_next_watch_goes_on(cluster: Cluster, make: Make) -> None:
    told: list[Any] = []
    cluster.watches = [[("BOOKMARK", {"metadata": {"resourceVersion": "9"}})]]
    make(lambda *change: told.append(change)).start()
    until(lambda: len(cluster.asked("watch=true")) == 2)
    first, second = cluster.asked("watch=true")
    assert "resourceVersion=5&" in first
    assert "resourceVersion=9&" in second
    assert told == []


def test_after_a_failed_watch_a_server_that_is_behind_is_listed_again(
    cluster: Cluster, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "backoff", lambda *_: 0.0)
    reasons: list[str] = []
    cluster.items, cluster.broken = [item("kept", "1", 4)], True
    cluster.watches = [[("ADDED", item("lost", "1", 9)), ("MODIFIED", item("kept", "2", 10))]]
    reflector = make(lambda *_: None, on_restart=reasons.append)
    reflector.start()
    until(lambda: len(cluster.asked("watch=true")) == 2)
    assert reflector.store == {("team", "kept"): "1"}
    assert "resourceVersion=5&" in cluster.asked("watch=true")[1]
    assert reasons == ["failed", "expired"]


def test_after_a_failed_watch_a_server_that_is_not_behind_is_asked_for_one_object_only(
    cluster: Cluster, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "backoff", lambda *_: 0.0)
    cluster.items, cluster.broken = [item("kept", "1", 4)], True
    cluster.watches = [[("MODIFIED", item("kept", "2", 5))]]
    reflector = make(lambda *_: None)
    reflector.start()
    until(lambda: len(cluster.asked("watch=true")) == 2)
    assert reflector.store == {("team", "kept"): "2"}
    lists = [path for path in cluster.asked("limit=") if "watch=true" not in path]
    assert [path.partition("?")[2] for path in lists] == ["limit=500", "limit=1"]


@pytest.mark.parametrize("version", ["", "an opaque text"])
def test_a_server_whose_versions_are_not_numbers_never_counts_as_behind(version: str) -> None:
    assert not watch.is_behind(version, "9")
    assert not watch.is_behind("9", version)


def test_watches_that_end_at_once_are_begun_ever_more_slowly(
    cluster: Cluster, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    delays: list[int] = []

    def backoff(failures: int, base: float, cap: float) -> float:
        assert 0 < base < cap
        delays.append(failures)
        return 0.0

    monkeypatch.setattr(watch, "backoff", backoff)
    cluster.end_at_once = True
    make(lambda *_: None).start()
    until(lambda: len(delays) >= 4)
    assert delays[:4] == [1, 2, 3, 4]
    assert "ended the watch immediately" in caplog.text


def test_an_event_makes_the_next_failure_count_as_the_first(
    cluster: Cluster, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[int] = []

    def backoff(failures: int, base: float, cap: float) -> float:
        del base, cap
        if len(delays) == 1:
            cluster.watches = [[("ADDED", item("one", "1", 6))]]
        delays.append(failures)
        return 0.0

    monkeypatch.setattr(watch, "backoff", backoff)
    cluster.end_at_once = cluster.broken = True
    make(lambda *_: None).start()
    until(lambda: len(delays) >= 5)
    assert delays[:5] == [1, 2, 1, 2, 3]


def test_each_restart_of_a_watch_passes_its_reason_to_on_restart(
    cluster: Cluster, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "backoff", lambda *_: 0.0)
    reasons: list[str] = []
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    cluster.watches = [
        [("BOOKMARK", {"metadata": {"resourceVersion": "6"}})],
        [("ERROR", gone)],
        [("ERROR", {**gone, "code": 500, "reason": "InternalError"})],
    ]
    reflector = make(lambda *_: None, on_restart=reasons.append)
    reflector.start()
    until(lambda: len(cluster.asked("watch=true")) == 4)
    reflector.stop()
    assert reasons == ["ended", "expired", "failed"]


def test_the_length_of_a_watch_is_chosen_at_random_from_its_range(cluster: Cluster, make: Make) -> None:
    cluster.watches = [[("BOOKMARK", {"metadata": {"resourceVersion": str(number)}})] for number in range(20)]
    make(lambda *_: None).start()
    until(lambda: len(cluster.asked("watch=true")) == 21)
    seconds = {int(path.partition("timeoutSeconds=")[2]) for path in cluster.asked("watch=true")}
    assert len(seconds) > 3
    assert min(seconds) >= 240
    assert max(seconds) <= 300


def test_a_list_that_comes_after_stopping_is_thrown_away(cluster: Cluster, make: Make) -> None:
    asked, may_answer = threading.Event(), threading.Event()
    told: list[Any] = []

    def answer_late(handler: Handler) -> None:
        asked.set()
        may_answer.wait(60)
        json_answer({"metadata": {"resourceVersion": "5"}, "items": [item("one", "1", 4)]})(handler)

    cluster.server.answers = [answer_late]
    reflector = make(lambda *change: told.append(change))
    reflector.start()
    assert asked.wait(60)
    reflector.stop()
    may_answer.set()
    reflector._thread.join(60)
    assert not reflector._thread.is_alive()
    assert (told, reflector.store, reflector.has_synced) == ([], {}, False)


def test_a_watch_that_begins_after_stopping_is_closed_unread(cluster: Cluster, make: Make) -> None:
    asked, may_answer = threading.Event(), threading.Event()
    told: list[Any] = []

    def answer_late(handler: Handler) -> None:
        asked.set()
        may_answer.wait(60)
        handler.send_chunks()
        cluster.over.wait(20)

    cluster.server.answers = [json_answer({"metadata": {"resourceVersion": "5"}, "items": []}), answer_late]
    reflector = make(lambda *change: told.append(change))
    reflector.start()
    assert asked.wait(60)
    reflector.stop()
    may_answer.set()
    reflector._thread.join(60)
    assert not reflector._thread.is_alive()
    assert told == []


def test_a_callback_that_stops_the_reflector_is_the_last_one(cluster: Cluster, make: Make) -> None:
    told: list[str | None] = []

    def on_change(_: ObjectKey, __: str | None, new: str | None) -> None:
        told.append(new)
        reflector._stopping.set()

    cluster.watches = [[("ADDED", item(name, name, 6)) for name in "ab"]]
    reflector = make(on_change)
    reflector.start()
    reflector._thread.join(60)
    assert not reflector._thread.is_alive()
    assert told == ["a"]
